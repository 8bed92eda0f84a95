"""Checks of directories as layers: a union of them is opened as a mount would, and what was tried out is told."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tools.doctor.finding import Finding, less, ok, reason
from tools.doctor.machine import passthrough_of
from unionfs.core.dialect import TRUSTED
from unionfs.core.errors import UnionError
from unionfs.core.layer import Layer
from unionfs.core.opening import open_union
from unionfs.core.options import UnionOptions
from unionfs.core.union import Union
from unionfs.fuse.direct.offer import offered
from unionfs.linux import copyrange, fsops, mountinfo
from unionfs.linux.at import At

_ELSEWHERE = "an upper on ext4, xfs, btrfs or tmpfs, mounted as root, has all of it"


def check(lowers: Sequence[str], upper: str, workdir: str, called: str = "") -> Iterator[Finding]:
    """Layers of a union to be; without lowers, an empty one is taken. `called`: what stands in place of the upper."""
    with tempfile.TemporaryDirectory(prefix="pyunion-") as empty:
        options = UnionOptions(tuple(map(os.fsencode, lowers or [empty])), dialect="auto")
        if upper:
            options = options._replace(upper=os.fsencode(upper), workdir=os.fsencode(workdir))
        try:
            union = open_union(options)
        except UnionError as error:
            yield Finding("layers", "missing", str(error))  # which has the remedy
            return
        try:
            for layer in union.layers:
                if layer.is_upper:
                    yield from _upper(union, layer, called or os.fsdecode(layer.path))
                elif lowers:
                    yield _lower(layer)
        finally:
            union.close()


@contextmanager
def scratch(place: str) -> Iterator[tuple[str, str]]:
    """An upper and a workdir for a moment, in `place` or in the next directory above it that there is."""
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    with tempfile.TemporaryDirectory(prefix="pyunion-doctor-", dir=place) as directory:
        made = f"{directory}/upper", f"{directory}/work"
        for path in made:
            os.mkdir(path)
        yield made


def _filesystem(layer: Layer) -> str:
    mounted = mountinfo.of_device(os.fstat(layer.root).st_dev)
    return os.fsdecode(mounted.fstype) if mounted else "filesystem not known"


def _lower(layer: Layer) -> Finding:
    about = f"lower {os.fsdecode(layer.path)} ({_filesystem(layer)})"
    if not os.fstatvfs(layer.root).f_flag & os.ST_RDONLY:
        text = "used as it is, not through a read-only clone: its files can't be passed through"
        return less(about, text, "mount as root, on Linux 5.12 or newer")
    try:
        fsops.name_to_handle(layer.root, b"")
    except OSError as error:
        text = f"has no file handles ({reason(error)}): kernel overlayfs won't know where copies of its files came from"
        return less(about, text, "layers on a filesystem that can be exported, if the kernel is to mount the upper too")
    return ok(about, "read through a read-only clone; has file handles")


def _upper(union: Union, layer: Layer, called: str) -> Iterator[Finding]:
    about = f"upper {called} ({_filesystem(layer)})"
    lacking = [*_marks(union), *_ways_of_renaming(union), *_kinds_of_files(union)]
    if lacking:
        yield less(about, "; ".join(lacking), _ELSEWHERE)
    else:
        yield ok(about, "has all that is needed: what is written there, kernel overlayfs reads")
    yield _sharing(union)
    yield from _passing(union, f"passthrough on {_filesystem(layer)}")


def _marks(union: Union) -> Iterator[str]:
    if union.dialect.prefix != TRUSTED:
        kept = "user.* ones are used" if union.dialect.prefix else "no redirects, owners or origins are kept"
        yield f"no trusted.* xattrs: {kept}"
    if union.primitives.whiteout == "xattr":
        yield "no device nodes 0:0: deletions are empty files with an xattr, as kernel overlayfs reads from Linux 6.7"
    elif union.primitives.whiteout == "name":
        yield "neither device nodes nor xattrs: deletions are .wh. files"


def _ways_of_renaming(union: Union) -> Iterator[str]:
    if not union.primitives.rename_whiteout and union.primitives.whiteout == "char":
        yield "no RENAME_WHITEOUT: several calls, which the next mount finishes after a crash"
    if not union.primitives.exchange:
        yield "no RENAME_EXCHANGE: the same, and exchanging is EINVAL"


def _kinds_of_files(union: Union) -> Iterator[str]:
    if not union.primitives.hard_links:
        yield "no hard links: those of lower layers come apart when they are written"
    with suppress(OSError):
        os.close(_file(union))
        return
    yield "no O_TMPFILE: EOPNOTSUPP in the union, too"


def _file(union: Union) -> int:
    """A file without name in the work directory."""
    assert union.workdir is not None
    return At(union.workdir.temporary, b".").open(os.O_TMPFILE | os.O_RDWR, 0o600)


def _sharing(union: Union) -> Finding:
    about = "copy-up"
    try:
        source, target = _file(union), _file(union)
    except OSError:
        return ok(about, "copies data")
    try:
        os.write(source, b"x")
        shares = copyrange.clone(source, target)
    finally:
        os.close(source)
        os.close(target)
    return ok(about, "shares data with lower layers on the same filesystem (reflink)" if shares else "copies data")


def _passing(union: Union, about: str) -> Iterator[Finding]:
    try:
        fd = _file(union)
    except OSError:
        return
    try:
        with suppress(OSError), offered() as offer:  # that mounting fails is told elsewhere
            yield passthrough_of(offer, fd, about)
    finally:
        os.close(fd)
