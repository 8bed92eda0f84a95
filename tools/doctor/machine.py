"""Checks of the kernel and of this user's powers over FUSE."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator

from runtime.network import programs
from tools.doctor.finding import Finding, less, missing, ok, reason
from unionfs.core.errors import UnionError
from unionfs.fuse import mounting
from unionfs.fuse.direct.offer import Offer, offered
from unionfs.fuse.direct.protocol import Init

_OLDEST, _CLONES = (5, 4), (5, 12)
_FUSE_CONF = "/etc/fuse.conf"


def check() -> Iterator[Finding]:
    """All of them."""
    yield _kernel()
    yield from _fuse()
    yield _fusermount()
    yield _pyfuse3()


def _kernel() -> Finding:
    release = f"Linux {os.uname().release}"
    version = tuple(map(int, re.findall(r"\d+", release)[:2]))
    if version < _OLDEST:
        return missing("kernel", release, "a kernel from Linux 5.4 on, better 6.9")
    if version < _CLONES:
        text = f"{release}: layers are used as they are, not through read-only clones; no containers"
        return less("kernel", text, "a kernel from Linux 5.12 on, better 6.9")
    return ok("kernel", release)


def _fuse() -> Iterator[Finding]:
    try:
        os.close(mounting.open_device())
    except UnionError as error:
        fact, _, remedy = str(error).removeprefix("/dev/fuse: ").partition(": ")
        yield missing("/dev/fuse", fact, remedy)
        return
    yield ok("/dev/fuse", "can be opened")
    try:
        with offered() as offer:
            yield _mount()
            yield from _offer(offer)
    except OSError as error:
        yield missing("mount", f"a FUSE filesystem can't be mounted: {reason(error)}", _way_to_mount(error))


def _mount() -> Finding:
    return ok("mount", "by mount(2)" if os.geteuid() == 0 else "by fusermount3, as an ordinary user")


def _way_to_mount(error: OSError) -> str:
    if error.errno == errno.EPROTO:
        return "a kernel from Linux 5.4 on"
    if os.geteuid() == 0:
        return "CAP_SYS_ADMIN in the user namespace that owns this mount namespace: `unshare -Urm`, or --privileged"
    return "be root, or root of a user namespace (`unshare -Urm`), or install fusermount3 (package fuse3)"


def _offer(offer: Offer) -> Iterator[Finding]:
    lacking = [feature.name or "" for feature in Init if feature in offer.lacking]
    if lacking:
        names = ", ".join(lacking)
        yield less("protocol", f"FUSE 7.{offer.minor}, without {names}: done otherwise, or left out", "a newer kernel")
    else:
        yield ok("protocol", f"FUSE 7.{offer.minor}, with all features that are used")
    yield _passthrough(offer)


def _passthrough(offer: Offer) -> Finding:
    with tempfile.TemporaryFile() as file:
        return passthrough_of(offer, file.fileno(), "passthrough")


def passthrough_of(offer: Offer, fd: int, about: str) -> Finding:
    """Whether the kernel reads and writes files itself that are on the filesystem of `fd`."""
    otherwise = "the driver reads and writes files for the kernel, which is slower"
    try:
        offer.pass_through(fd)
    except OSError as error:
        if error.errno == errno.ENOTTY:
            return less(about, f"the kernel can't read and write files itself: {otherwise}", "Linux 6.9 or newer")
        if error.errno == errno.EPERM:
            return less(about, f"not permitted: {otherwise}", "it takes root in the first user namespace")
        return less(about, f"not for this filesystem ({reason(error)}): {otherwise}", "layers on another filesystem")
    return ok(about, "the kernel reads and writes files itself")


def _fusermount() -> Finding:
    path = programs.find("fusermount3") or programs.find("fusermount")
    if not path:
        text = "not installed: ordinary users can mount in user namespaces alone"
        return less("fusermount3", text, "install it: apt-get install fuse3")
    if not os.stat(path).st_mode & 0o4000:
        return less("fusermount3", f"{path} isn't set-uid root: of no use to ordinary users", f"chmod u+s {path}")
    return ok("fusermount3", f"{path}{_allow_other()}")


def _allow_other() -> str:
    try:
        with open(_FUSE_CONF, encoding="utf-8", errors="replace") as lines:
            allowed = any(line.strip() == "user_allow_other" for line in lines)
    except OSError:
        allowed = False
    return "" if allowed else f"; allow_other is for root alone (user_allow_other isn't in {_FUSE_CONF})"


def _pyfuse3() -> Finding:
    try:
        mounting.check_libraries()
    except UnionError as error:
        fact, _, remedy = str(error).partition(": ")
        return less("pyfuse3", f"{fact}: no binding=pyfuse3, which nothing needs", remedy)
    return ok("pyfuse3", "installed, for binding=pyfuse3")
