"""Forwarding between this machine's interfaces: on while a network of ours leads out, then as it was found.

It is switched on for each interface and for those to come, not by the switch of the whole machine (net.ipv4.ip_forward,
the same as conf.all.forwarding). That is what others look at who need forwarding, as container engines do, and turn on
if it is off. So it tells whether somebody has come to rely on forwarding meanwhile: then everything stays as it is.

    /run/pyunion-forwarding.NUMBER   what forwarded before, and which state directories need it; there as long as one
                                     does, locked (flock) while that changes. NUMBER: the network namespace's cookie

IPv6 has a switch for each interface since Linux 6.17 (force_forwarding). Before, there is only that of the machine,
which makes it a router to its neighbours, too: that one stays on, since nobody can tell who relies on it.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TextIO

from runtime.network.namespace import parameter, set_parameter

_CONF = "/proc/sys/net/ipv{version}/conf/{interface}/{name}"
_NAMES = {4: "forwarding", 6: "force_forwarding"}
_MACHINE, _TO_COME = "all", "default"
_SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h
_ON, _OFF = "1", "0"


def apply(root: str, versions: set[int]) -> None:
    """Forward these versions of IP for the networks of the state directory `root`. Precondition: their lock is held."""
    if 6 in versions and not _read(6, _MACHINE):
        versions = versions - {6}
        _become_router()
    path = f"/run/pyunion-forwarding.{_namespace()}"
    if not os.path.exists(path) and all(_read(version, _MACHINE) == _ON for version in versions):
        return
    import json

    with _locked(path) as note:
        text = note.read()
        found: dict[str, Any] = json.loads(text) if text else {"needed": {}, "before": {}}
        needed, before = found["needed"], found["before"]
        needed[root] = sorted(versions)
        wanted = {version for one, versions in needed.items() if os.path.isdir(one) for version in versions}
        before |= {str(one): _forwarding(one) for one in wanted if str(one) not in before and _is_ours(one)}
        with _replaced(path, json.dumps(found)) if wanted else nullcontext():
            for version in wanted:
                _switch_on(version)
            for version in set(map(int, before)) - wanted:
                _switch_off(version, before[str(version)])
            if not wanted:
                os.unlink(path)


def _switch_on(version: int) -> None:
    if _is_ours(version) and _read(version, _TO_COME) != _ON:
        for interface in _interfaces(version):
            set_parameter(_path(version, interface), _ON)


def _switch_off(version: int, before: list[str]) -> None:
    if _is_ours(version):
        for interface in set(_interfaces(version)) - set(before):
            set_parameter(_path(version, interface), _OFF)


def _is_ours(version: int) -> bool:
    """Whether nobody has switched the whole machine on."""
    return _read(version, _MACHINE) == _OFF


def _forwarding(version: int) -> list[str]:
    return [interface for interface in _interfaces(version) if _read(version, interface) == _ON]


def _interfaces(version: int) -> list[str]:
    """Those that there are, and `default`: those to come."""
    names = os.listdir(os.path.dirname(os.path.dirname(_path(version, _MACHINE))))
    return [name for name in names if name != _MACHINE]


def _read(version: int, interface: str) -> str:
    return parameter(_path(version, interface))


def _path(version: int, interface: str) -> str:
    return _CONF.format(version=version, interface=interface, name=_NAMES[version])


def _become_router() -> None:
    """Forward IPv6 by the switch of the whole machine, which goes on hearing its own routers."""
    conf = "/proc/sys/net/ipv6/conf"
    if parameter(f"{conf}/all/forwarding") == _ON:
        return
    for interface in os.listdir(conf):
        if parameter(f"{conf}/{interface}/accept_ra") == "1":
            set_parameter(f"{conf}/{interface}/accept_ra", "2")
    set_parameter(f"{conf}/all/forwarding", _ON)


def _namespace() -> int:
    """A number that no other network namespace gets until the machine starts again."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket, suppress(OSError):
        return int.from_bytes(any_socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")
    return os.stat("/proc/self/ns/net").st_ino  # before Linux 5.14: none other has it as long as this one exists


@contextmanager
def _locked(path: str) -> Iterator[TextIO]:
    """The file, empty if it wasn't there, which nobody else has."""
    while True:
        with open(path, "a+", encoding="utf-8", opener=_open_private) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:  # else it was replaced or removed between our two calls
                file.seek(0)
                yield file
                return


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


@contextmanager
def _replaced(path: str, text: str) -> Iterator[None]:
    """Another file in the place of the one that we have locked; it is locked before anybody can find it."""
    with open(f"{path}.new", "w", encoding="utf-8", opener=_open_private) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(text)
        file.flush()
        os.rename(f"{path}.new", path)
        yield
