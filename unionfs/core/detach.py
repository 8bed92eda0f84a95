"""Detaching a directory from the layers below: all that it has comes to the upper, which then stands alone.

It is how a directory is renamed where no redirect can be written. Until the mark that detaches it, copying changes
nothing that anyone sees, so it may stop anywhere.
"""

from unionfs.core import copyup, holding, objects, tree
from unionfs.core.inodes import Dir, File
from unionfs.core.union import Union
from unionfs.core.work import Steps


def detach(union: Union, node: Dir) -> Steps[None]:
    """Copy up everything in `node`, then make it opaque. Raises OSError: those of copy-up; nothing is changed then."""
    node.opens += 1
    try:
        while (yield from _copy(union, node)):
            pass  # somebody may have come between: it isn't complete
    finally:
        node.opens -= 1
    if node.dead or not node.is_merged:
        return
    upper = copyup.upper_dir(union, node)
    union.dialect.set_opaque(objects.locate(union, node))
    _forget_lower(union, node)
    union.changed.append(node)
    assert node.parts == [upper]


def _copy(union: Union, node: Dir) -> Steps[bool]:
    """One pass over the tree; whether it had to wait for anything, so that names may have come since."""
    slept = False
    if node.dead:
        return slept
    copyup.upper_dir(union, node)
    for _, name in list(tree.listing(union, node).after(0)):
        child = tree.peek(union, node, name)
        if child is None:
            continue
        child.opens += 1
        try:
            if isinstance(child, Dir):
                slept |= yield from _copy(union, child)
            elif isinstance(child, File):
                slept |= not child.is_upper
                yield from copyup.upper_file(union, child)
                if (node, name) in child.names:
                    copyup.upper_name(union, node, name, child)
        finally:
            child.opens -= 1
            holding.forget(union, child)
    return slept


def _forget_lower(union: Union, node: Dir) -> None:
    """Let memory know that `node` and all below it have no lower content any more."""
    for part in node.parts[1:]:
        union.fds.drop(part)
    del node.parts[1:]
    if node.index is not None:
        node.index.forget_lower()
    for child in node.children.values():
        if isinstance(child, Dir):
            _forget_lower(union, child)
