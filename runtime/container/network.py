"""The network of a container without any of our networks: the host's, another container's, or none but loopback."""

import fcntl
import os
import struct

from runtime.container.config import Config
from unionfs.linux.sockets import packet_socket

# include/uapi/linux/sockios.h, if.h
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IFREQ = struct.Struct("16sh14x")
_MOST_BYTES = 1 << 16


def bring_loopback_up() -> None:
    """Make 127.0.0.1 and ::1 reachable in a new network namespace."""
    any_socket = packet_socket()
    try:
        _, flags = _IFREQ.unpack(fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0)))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | _IFF_UP))
    except OSError as error:  # EPERM: root of another engine's container
        error.filename = "interface lo"
        raise
    finally:
        os.close(any_socket)


def hosts(hostname: str) -> bytes:
    """The text of /etc/hosts."""
    return b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t%b\n" % os.fsencode(hostname)


def resolv_conf() -> bytes:
    """The text of /etc/resolv.conf: the machine's."""
    try:
        with open("/etc/resolv.conf", "rb") as file:
            return file.read(_MOST_BYTES)
    except FileNotFoundError:
        return b""


def is_ours(config: Config) -> bool:
    """Whether the container is to be connected to a network of ours."""
    return config.network not in ("host", "none") and not config.network.startswith("container:")
