"""COPY and ADD: what their words select, and as whose and with which mode it goes into the layer."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from runtime.build import words
from runtime.build.archives import is_archive, unpack_into
from runtime.build.dockerfile import Heredoc, Instruction
from runtime.build.errors import BuildError
from runtime.build.ignore import Ignore
from runtime.build.patterns import is_pattern
from runtime.build.selecting import Attributes, Selection, select, select_data, with_parents, without_top
from runtime.build.trees import Tree
from runtime.build.workspace import Workspace
from runtime.image.tar.members import FILE

_MODE = re.compile(r"[0-7]{1,4}")
_ID = re.compile(r"\d{1,10}")
_URL = re.compile(r"(https?|git|ssh)://|git@")
_MOST_FILE_BYTES = 1 << 20
Expand = Callable[[str], str]


class Request(NamedTuple):
    """What one instruction asks for."""

    sources: list[str]
    destination: str
    into: bool
    """Whether it ends with a slash."""
    owner: str
    mode: int | None
    excluded: list[str]
    parents: bool
    """Whether the directories above a source go with it."""

    @property
    def key(self) -> tuple[object, ...]:
        """What of it, besides the sources' content, the layer depends on."""
        return self.destination, self.into, self.owner, self.mode, self.parents


def read_request(instruction: Instruction, expand: Expand, workdir: str) -> Request:
    """Raises BuildError."""
    heredocs = {heredoc.word for heredoc in instruction.heredocs}
    found = [word if word in heredocs else expand(word) for word in instruction.words()]
    if len(found) < 2:
        raise BuildError("it takes at least one source and a destination")
    *sources, destination = found
    for source in sources:
        if _URL.match(source):
            raise BuildError(f"{source}: nothing is fetched from the network: use RUN, or put it into the context")
    parents = instruction.on("parents")
    into = destination.endswith(("/", "/.")) or destination in ("", ".") or parents
    if len(sources) > 1 and not into:
        raise BuildError("with more than one source the destination is a directory and ends with /")
    mode = expand(instruction.flag("chmod"))
    if mode and not _MODE.fullmatch(mode):
        raise BuildError(f"--chmod={mode}: it is an octal number of up to four digits")
    return Request(
        sources, os.path.join(workdir, destination), into, expand(instruction.flag("chown")),
        int(mode, 8) if mode else None, [expand(pattern) for pattern in instruction.many("exclude")], parents,
    )  # fmt: skip


def owner_of(text: str, parent: Tree) -> tuple[int, int]:
    """USER[:GROUP] by the parent's own passwd and group: a number alone is both; a name's group is its user's.

    Raises BuildError.
    """
    name, _, group = text.partition(":")
    users = _records(parent, b"etc/passwd", 4)
    record = next((record for record in users if record[0] == name), None)
    if record is None and not _ID.fullmatch(name):
        raise BuildError(f"there is no user {name!r} in the image")
    uid = int(record[2]) if record else int(name)
    if not group:
        return uid, int(record[3]) if record else uid
    if _ID.fullmatch(group):
        return uid, int(group)
    for found in _records(parent, b"etc/group", 3):
        if found[0] == group:
            return uid, int(found[2])
    raise BuildError(f"there is no group {group!r} in the image")


def gather(
    request: Request, instruction: Instruction, tree: Tree, attributes: Attributes, variables: Mapping[str, str],
    now_ns: int,
) -> list[Selection]:  # fmt: skip
    """What the sources of `request` select in `tree`. A pattern may match nothing. Raises BuildError, OSError."""
    heredocs = {heredoc.word: heredoc for heredoc in instruction.heredocs}
    excluded = Ignore(map(os.fsencode, request.excluded)).excludes
    found = []
    for source in request.sources:
        if source in heredocs:
            data = _content(heredocs[source], variables, instruction.escape)
            found.append(select_data(os.fsencode(heredocs[source].name), data, now_ns, attributes))
        else:
            found += _selected(source, tree, attributes, excluded, parents=request.parents)
    return found


def _content(heredoc: Heredoc, variables: Mapping[str, str], escape: str) -> bytes:
    text = words.expand_document(heredoc.content, variables, escape) if heredoc.expands else heredoc.content
    return text.encode(errors="surrogateescape")


def _selected(
    source: str, tree: Tree, attributes: Attributes, excluded: Callable[[bytes], bool], *, parents: bool
) -> list[Selection]:  # fmt: skip
    top, pivot, _ = source.partition("/./") if parents else ("", "", "")
    depth = len(_clean(top).split(b"/")) if pivot and _clean(top) else 0
    pattern = _clean(source)
    paths = tree.glob(pattern) if is_pattern(pattern) else [pattern]
    found = []
    for path in paths:
        selection = select(tree, path, attributes, excluded)
        if selection is not None:
            whole = with_parents(selection, tree, path, depth, attributes) if parents else selection
            found.append(without_top(whole, attributes))
        elif not is_pattern(pattern):
            is_ignored = tree.ignore.excludes(pattern)
            raise BuildError(f"{source}: {'it is left out by .dockerignore' if is_ignored else 'not found'}")
    return found


def _clean(source: str) -> bytes:
    """As a path in the tree, without dots."""
    return os.path.normpath(b"/" + os.fsencode(source)).lstrip(b"/")


def unpacked(
    selections: Sequence[Selection], attributes: Attributes, workspace: Workspace, held: ExitStack
) -> list[Selection]:
    """`selections`, with what is in them instead of those that are archives, as ADD has it."""
    return [_unpacked(selection, attributes, workspace, held) or selection for selection in selections]


def _unpacked(
    selection: Selection, attributes: Attributes, workspace: Workspace, held: ExitStack
) -> Selection | None:  # fmt: skip
    item = selection.items[0]
    if not selection.name or item.tree is None or item.node is None or item.member.kind != FILE:
        return None
    with item.tree.open(item.node) as fd, os.fdopen(os.dup(fd), "rb") as file:
        if not is_archive(file):
            return None
        directory = workspace.make_directory()
        result = unpack_into(file, directory, os.fsdecode(selection.name))
    tree = Tree([directory])
    held.callback(tree.close)
    content = select(tree, b"", attributes, lambda _: False)
    assert content is not None
    implied = set(result.implied)
    items = [one._replace(replaces=one.member.name not in implied) for one in content.items]
    return content._replace(items=items, overrides=True)


def _records(tree: Tree, path: bytes, fields: int) -> list[list[str]]:
    """The lines of a passwd-like file that have so many fields and, from the third on, ids."""
    text = (tree.read(path, _MOST_FILE_BYTES) or b"").decode(errors="surrogateescape")
    records = [line.split(":") for line in text.splitlines()]
    return [record for record in records if len(record) >= fields and all(map(_ID.fullmatch, record[2:fields]))]
