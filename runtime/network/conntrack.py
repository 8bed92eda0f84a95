"""What the kernel remembers of conversations, where that is wrong by now.

A datagram goes where those before it went, for as long as they follow each other: to a container that has ended, or to
this machine if nobody had published the port then. A client that keeps its port would never find the new container.
(TCP has an end and a beginning, which the kernel sees.)
"""

import struct
from collections.abc import Collection
from contextlib import suppress

from runtime.network.netlink import NESTED, Netlink, unpack
from runtime.network.wanted import Publish

# include/uapi/linux/netlink.h, netfilter/nfnetlink.h, nfnetlink_conntrack.h
_NETLINK_NETFILTER = 12
_GET = 1 << 8 | 1
_DELETE = 1 << 8 | 2
_CTA_TUPLE_ORIG = 1
_CTA_TUPLE_PROTO = 2
_CTA_PROTO_NUM = 1
_CTA_PROTO_DST_PORT = 3
_ANY_FAMILY = struct.pack("!BBH", 0, 0, 0)  # struct nfgenmsg
_UDP = 17


def forget(ports: Collection[Publish]) -> None:
    """Have the next datagram for one of these ports be the first of its conversation."""
    numbers = {port.host_port for port in ports if port.protocol == "udp"}
    if not numbers:
        return
    with suppress(OSError), Netlink(_NETLINK_NETFILTER) as netlink:  # a kernel without it remembers nothing
        for message in netlink.dump(_GET, _ANY_FAMILY):
            conversation = unpack(message[len(_ANY_FAMILY) :])[_CTA_TUPLE_ORIG]
            protocol = unpack(unpack(conversation)[_CTA_TUPLE_PROTO])
            number = int.from_bytes(protocol.get(_CTA_PROTO_DST_PORT, b""), "big")
            if protocol[_CTA_PROTO_NUM] == bytes((_UDP,)) and number in numbers:
                with suppress(FileNotFoundError):  # it was over meanwhile
                    netlink.request(_DELETE, 0, message[:4], {_CTA_TUPLE_ORIG | NESTED: conversation})
