"""Unpacked layers, shared by all images that have them; nobody writes into one that is finished.

    ROOT/layers/ALGORITHM-HEX/diff/     a layer by its diff id
                              needs     what it doesn't hold itself, if there is any (JSON of tar.unpack.Unpacked)
    ROOT/layers/chain-ALGORITHM-HEX/    what lies over a layer that needs something, by its chain id: see completion.py
    ROOT/drafts/NAME                    a layer being unpacked; NAME.lock is held meanwhile

This module is on the way to a container's first instruction: what only unpacking needs is imported by it alone.
"""

import json
import os
from collections.abc import Callable, Sequence
from typing import BinaryIO

from runtime.image.digest import Digest, chain_ids
from runtime.image.errors import Corrupt
from runtime.image.media import Descriptor, layer_compression
from runtime.image.store.locks import open_locked
from runtime.image.tar.limits import DEFAULT_LIMITS, Limits
from runtime.image.tar.unpacked import Unpacked
from runtime.trees import remove_tree
from unionfs.core.dialect import TRUSTED, any_dialect
from unionfs.linux.at import At

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_CHAIN = "chain-"
_DIALECT = any_dialect(TRUSTED)


class Layers:
    """The layers of one store."""

    def __init__(self, directory: str, limits: Limits = DEFAULT_LIMITS) -> None:
        self.directory = directory
        self._drafts = f"{os.path.dirname(directory)}/drafts"
        self._limits = limits

    def prepare(self) -> None:
        for path in (self.directory, self._drafts):
            os.makedirs(path, mode=0o700, exist_ok=True)

    def path(self, diff_id: Digest) -> str:
        return f"{self.directory}/{_name(diff_id)}/diff"

    def unpack(self, open_blob: Callable[[Digest], BinaryIO], layer: Descriptor, diff_id: Digest) -> str:
        """The directory of a layer, whose packed form `open_blob` opens if it isn't unpacked yet.

        How it is packed its first bytes say, for media types are wrong at times; what comes out is proved by `diff_id`.
        """
        layer_compression(layer)

        def fill(draft: str) -> None:
            with open_blob(layer.digest) as blob:
                self._unpack_into(draft, blob, diff_id)

        self._build(_name(diff_id), fill)
        return self.path(diff_id)

    def adopt(self, diff_id: Digest, fill: Callable[[str], None]) -> None:
        """Have `fill` make the directory of a layer, if there is none, in the draft directory it is given."""
        self._build(_name(diff_id), fill)

    def stack(self, diff_ids: Sequence[Digest]) -> list[str]:
        """The directories that make an image's tree of these layers (lowest first), uppermost first.

        Precondition: all are unpacked.
        """
        below: list[str] = []
        loose = ""  # the first of `below` if it only holds attributes for the layer under it
        for diff_id, chain_id in zip(diff_ids, chain_ids(list(diff_ids)), strict=True):
            path, needs = self.path(diff_id), self._needs(diff_id)
            if _hides_all(path):
                below, loose = [path], ""
                continue
            over = []
            if below and (loose or needs.directories or needs.links):
                over = self._completed(chain_id, path, below, needs, loose)
            below = [*over, path, *(layer for layer in below if layer != loose)]
            loose = over[0] if over and not needs.links else ""
        return below

    def root(self, diff_ids: Sequence[Digest]) -> str:
        """The layer whose own directory is what an image's root directory is like: the topmost that says so."""
        for diff_id in reversed(diff_ids):
            if b"" not in self._needs(diff_id).implied:
                return self.path(diff_id)
        return self.path(diff_ids[0]) if diff_ids else ""

    def collect(self, needed: Sequence[Sequence[Digest]], in_use: set[str]) -> None:
        """Remove drafts, and layers of which neither images (diff ids, lowest first) nor `in_use` (paths) know.

        A path may be another way to the same store: the layer's own name in it is what counts.
        """
        names = {os.path.basename(os.path.dirname(path)) for path in in_use}
        names |= {_name(diff_id) for image in needed for diff_id in image}
        names |= {_CHAIN + _name(chain_id) for image in needed for chain_id in chain_ids(list(image))}
        for name in os.listdir(self.directory):
            path = f"{self.directory}/{name}"
            if name not in names:
                draft = f"{self._drafts}/{name}.gone"
                remove_tree(draft)
                os.rename(path, draft)  # half a layer is never under a layer's name
        for name in os.listdir(self._drafts):
            path = f"{self._drafts}/{name}"
            if os.path.isdir(path):
                remove_tree(path)
            else:
                os.unlink(path)

    def _completed(
        self, chain_id: Digest, layer: str, below: list[str], needs: Unpacked, replaced: str
    ) -> list[str]:
        def fill(draft: str) -> None:
            from runtime.image.store.completion import complete

            complete(draft, layer, below, needs, replaced)

        name = _CHAIN + _name(chain_id)
        self._build(name, fill)
        path = f"{self.directory}/{name}/diff"
        return [path] if os.listdir(path) else []

    def _build(self, name: str, fill: Callable[[str], None]) -> None:
        """Make a layer appear at once, if it isn't there: by one process or thread, the others wait."""
        target = f"{self.directory}/{name}"
        if os.path.isdir(target):
            return
        draft = f"{self._drafts}/{name}"
        lock = open_locked(f"{draft}.lock")
        try:
            if os.path.isdir(target):
                return
            remove_tree(draft)
            os.mkdir(draft, 0o700)
            os.mkdir(f"{draft}/diff", 0o755)
            os.chmod(f"{draft}/diff", 0o755)
            try:
                fill(draft)
            except BaseException:
                remove_tree(draft)
                raise
            os.rename(draft, target)
        finally:
            os.unlink(f"{draft}.lock")
            os.close(lock)

    def _unpack_into(self, draft: str, blob: BinaryIO, diff_id: Digest) -> None:
        from runtime.image.tar.streams import Expanded, sniffed
        from runtime.image.tar.unpack import unpack

        root = os.open(f"{draft}/diff", _DIRECTORY)
        try:
            with Expanded(blob, sniffed(blob), self._limits, algorithm=diff_id.algorithm) as stream:
                unpacked = unpack(stream.read, root, limits=self._limits)
                found = stream.digest()
        finally:
            os.close(root)
        if found != diff_id:
            raise Corrupt(f"a layer's content has the digest {found}, and should have {diff_id}")
        _write_needs(draft, unpacked)

    def _needs(self, diff_id: Digest) -> Unpacked:
        try:
            with open(f"{self.directory}/{_name(diff_id)}/needs", encoding="ascii") as file:
                implied, links = json.load(file)
        except FileNotFoundError:
            return Unpacked([], [], 0)
        pairs = [(os.fsencode(name), os.fsencode(target)) for name, target in links]
        return Unpacked([os.fsencode(path) for path in implied], pairs, 0)


def _write_needs(draft: str, unpacked: Unpacked) -> None:
    """Only if there is something."""
    implied = list(map(os.fsdecode, unpacked.implied))
    links = [(os.fsdecode(name), os.fsdecode(target)) for name, target in unpacked.links]
    if implied or links:
        with open(f"{draft}/needs", "x", encoding="ascii") as file:
            json.dump((implied, links), file)


def _hides_all(path: str) -> bool:
    """Whether the root itself is opaque, which a union doesn't ask of it."""
    root = os.open(path, _DIRECTORY)
    try:
        return _DIALECT.marks(At(root)).opaque
    finally:
        os.close(root)


def _name(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"
