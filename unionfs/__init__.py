"""A union file system: ordered read-only layers and one writable one, seen as one tree.

`open_union(UnionOptions(...))` gives the core without a mount; the verbs in `unionfs.core.ops` work on it.
"""

from unionfs.core.errors import UnionError
from unionfs.core.opening import open_union
from unionfs.core.options import UnionOptions
from unionfs.core.union import Union

__all__ = ["Union", "UnionError", "UnionOptions", "open_union"]
