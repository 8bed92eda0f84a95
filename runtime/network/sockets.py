"""The sockets on which a container's names are asked for, inside it."""

import socket

from runtime.errors import Refusal
from runtime.network import namespace, programs
from runtime.network.files import RESOLVER

_PORT = 53
_TRIES = 8


def listen_for_names(pid: int) -> tuple[socket.socket, socket.socket]:
    """Sockets on the resolver's address in the namespace of process `pid`, UDP and TCP.

    Port 53 stays free there for a server of the container's own, which may want it on all addresses: what is sent to
    53 is turned to the port ours got. Where there is no nft, ours takes port 53. Raises Refusal.
    """
    nft = programs.find("nft")
    with namespace.inside(pid):
        udp, tcp = _bind_both(0 if nft else _PORT)
        if nft:
            status, _, complaint = programs.run([nft, "-f", "-"], _turning(udp.getsockname()[1]))
            if status:
                raise Refusal(f"nft: {complaint.strip()}")
    return udp, tcp


def _turning(port: int) -> str:
    rules = "".join(f"ip daddr {RESOLVER} {kind} dport {_PORT} dnat to {RESOLVER}:{port}\n" for kind in ("udp", "tcp"))
    return f"table ip pyunion {{ chain names {{ type nat hook output priority -100;\n{rules}}}\n}}\n"


def _bind_both(port: int) -> tuple[socket.socket, socket.socket]:
    """A datagram and a listening socket on one port, which is chosen if it is 0."""
    for _ in range(_TRIES):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        udp.bind((RESOLVER, port))
        try:
            tcp.bind((RESOLVER, udp.getsockname()[1]))
        except OSError:  # another's
            udp.close()
            tcp.close()
            continue
        tcp.listen()
        return udp, tcp
    raise Refusal("there is no port for the container's name server")
