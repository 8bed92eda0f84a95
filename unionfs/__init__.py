"""A union file system: ordered read-only layers and one writable one, seen as one tree.

`mount(lower=[...], upper=..., workdir=..., at=...)` mounts one while a `with` block runs.
`open_union(UnionOptions(...))` gives the core without a mount; the verbs in `unionfs.core.ops` work on it.
A name is imported when it is asked for: who only wants `unionfs.linux`, as a container on its way to its first
instruction does, doesn't wait for the rest (17 ms).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unionfs.core.errors import UnionError
    from unionfs.core.opening import open_union
    from unionfs.core.options import UnionOptions
    from unionfs.core.union import Union
    from unionfs.fuse.background import mount

__all__ = ["Union", "UnionError", "UnionOptions", "mount", "open_union"]

_HOMES = {
    "Union": "unionfs.core.union",
    "UnionError": "unionfs.core.errors",
    "UnionOptions": "unionfs.core.options",
    "mount": "unionfs.fuse.background",
    "open_union": "unionfs.core.opening",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
