"""The build's context, its Dockerfile and its .dockerignore, from wherever they are given."""

import os
import shutil
from typing import NamedTuple

from runtime.build.archives import is_archive, unpack_into
from runtime.build.errors import BuildError
from runtime.build.ignore import Ignore, read_ignore
from runtime.build.trees import Tree
from runtime.build.workspace import Workspace
from runtime.errors import describe

_DOCKERFILES = ("Dockerfile", "Containerfile", "dockerfile")
_IGNORE_FILES = (".containerignore", ".dockerignore")
_MOST_BYTES = 4 << 20
_NETWORK = ("http://", "https://", "git://", "git@", "github.com/", "ssh://")


class Context(NamedTuple):
    """What a build is given."""

    tree: Tree
    dockerfile: bytes
    name: str
    """Of the Dockerfile, as people know it."""


def open_context(place: str, file: str, workspace: Workspace) -> Context:
    """`place` is a directory, or - for standard input: an archive of one, or a Dockerfile without a context.

    `file` is the Dockerfile's path, - for standard input, or empty for the usual. Raises BuildError.
    """
    if place.startswith(_NETWORK):
        raise BuildError(f"{place}: a context from the network isn't supported: fetch it first")
    if place == "-":
        return _from_stdin(file, workspace)
    if not os.path.isdir(place):
        raise BuildError(f"context {place}: {'not a directory' if os.path.exists(place) else 'no such directory'}")
    if file == "-":
        with open(0, "rb", closefd=False) as stdin:
            return Context(_tree(place, ""), stdin.read(_MOST_BYTES + 1), "-")
    if file and os.path.isfile(file):
        with open(file, "rb") as named:
            return Context(_tree(place, file), named.read(_MOST_BYTES + 1), file)
    return _within(place, file)


def _from_stdin(file: str, workspace: Workspace) -> Context:
    if os.isatty(0):
        raise BuildError("the context - is standard input, which is a terminal")
    if file == "-":
        raise BuildError("context and Dockerfile can't both be standard input")
    copy = workspace.make_file(b"", 0o600)
    with open(0, "rb", closefd=False) as stdin, open(copy, "w+b") as whole:
        shutil.copyfileobj(stdin, whole)
        whole.seek(0)
        directory = workspace.make_directory()
        if is_archive(whole):
            unpack_into(whole, directory, "context")
            os.unlink(copy)
            return _within(directory, file)
        if file:
            raise BuildError("standard input is no archive, so it can't hold the Dockerfile that --file names")
        return Context(_tree(directory, ""), whole.read(_MOST_BYTES + 1), "Dockerfile")


def _within(directory: str, file: str) -> Context:
    """With a Dockerfile that is in the context, where no symlink leads it out."""
    plain = Tree([directory])
    try:
        for name in (file,) if file else _DOCKERFILES:
            data = plain.read(os.fsencode(name), _MOST_BYTES)
            if data is not None:
                return Context(_tree(directory, f"{directory}/{name}"), data, name)
    except OSError as error:
        raise BuildError(f"Dockerfile: {describe(error)}") from None
    finally:
        plain.close()
    wanted = file or " nor ".join(_DOCKERFILES[:2])
    raise BuildError(f"the context has no {wanted}" if file else f"the context has neither {wanted}")


def _tree(directory: str, dockerfile: str) -> Tree:
    return Tree([directory], _ignore(directory, dockerfile))


def _ignore(directory: str, dockerfile: str) -> Ignore:
    """A file that belongs to the Dockerfile comes before one that belongs to the context."""
    own = f"{dockerfile}.dockerignore"
    if dockerfile and os.path.isfile(own):
        with open(own, "rb") as named:
            return read_ignore(named.read(_MOST_BYTES))
    plain = Tree([directory])
    try:
        for name in _IGNORE_FILES:
            data = plain.read(os.fsencode(name), _MOST_BYTES)
            if data is not None:
                return read_ignore(data)
    except OSError as error:
        raise BuildError(describe(error)) from None
    finally:
        plain.close()
    return Ignore()
