"""Detaching a directory from the layers below: all that it has comes to the upper, which then stands alone.

It is how a directory is renamed where no redirect can be written. Until the mark that detaches it, copying changes
nothing that anyone sees, so it may stop anywhere.
"""

from unionfs.core import copyup, holding, objects, tree
from unionfs.core.inodes import Dir, File, Node
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
    forget_lower(union, node)
    union.changed.append(node)
    assert node.parts == [upper]


def _copy(union: Union, node: Dir) -> Steps[bool]:
    """One pass over the tree; whether it had to wait for anything, so that names may have come since."""
    slept = False
    node.opens += 1
    waiting = [node]  # no recursion: trees may be deeper
    try:
        while waiting:
            directory = waiting.pop()
            try:
                slept |= yield from _copy_names(union, directory, waiting)
            finally:
                _let_go(union, directory)
    finally:
        for directory in waiting:
            _let_go(union, directory)
    return slept


def _copy_names(union: Union, node: Dir, waiting: list[Dir]) -> Steps[bool]:
    """Copy up `node` and the files in it; whether it had to wait. Its directories are held, and join `waiting`."""
    slept = False
    if node.dead:
        return slept
    copyup.upper_dir(union, node)
    for _, name in list(tree.listing(union, node).after(0)):
        child = tree.peek(union, node, name)
        if child is None:
            continue
        child.opens += 1
        if isinstance(child, Dir):
            waiting.append(child)
            continue
        try:
            if isinstance(child, File):
                slept |= not child.is_upper
                yield from copyup.upper_file(union, child)
                if (node, name) in child.names:
                    copyup.upper_name(union, node, name, child)
        finally:
            _let_go(union, child)
    return slept


def _let_go(union: Union, node: Node) -> None:
    node.opens -= 1
    holding.forget(union, node)


def forget_lower(union: Union, node: Dir) -> None:
    """Let memory know that `node` and all below it have no lower content any more."""
    waiting = [node]
    while waiting:
        directory = waiting.pop()
        for part in directory.parts[1:]:
            union.fds.drop(part)
        del directory.parts[1:]
        if directory.index is not None:
            directory.index.forget_lower()
        waiting += [child for child in directory.children.values() if isinstance(child, Dir)]
