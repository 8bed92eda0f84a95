"""Rules of others that cut containers off: chains that drop what is forwarded unless a rule accepts it.

No rule of ours outweighs them: a packet must be accepted in every table. Of nftables nft tells; of the older tables,
which nft doesn't show, the kernel itself, since nobody may have their programs. Only root sees either.
"""

import json
import socket
import struct
from collections.abc import Iterator

from runtime.network import programs
from unionfs.linux.sockets import ask_option

# include/uapi/linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h, netfilter/x_tables.h
_GET_INFO, _GET_ENTRIES = 64, 65
_NAME_BYTES = 32
_INFO = struct.Struct("=32s13I")  # struct ipt_getinfo: name, hooks, five starts, five policies, entries, bytes
_FORWARD = 2
_ENTRIES_AT = 40  # struct ipt_get_entries: name, size, and the entries aligned to 8
_FIXED_BYTES = 32  # struct xt_entry_target; the verdict follows
_DROP = -1  # -NF_DROP - 1
_TABLE = b"filter"
_OLD = (
    ("iptables-legacy", "/proc/net/ip_tables_names", socket.AF_INET, socket.IPPROTO_IP, 88),
    ("ip6tables-legacy", "/proc/net/ip6_tables_names", socket.AF_INET6, socket.IPPROTO_IPV6, 140),
)
"""Program, list of its tables in use, family, level of the options, and where an entry says where its target is."""


def chains() -> Iterator[tuple[str, str]]:
    """Each such chain, and the commands that let our packets through."""
    for chain in _of_nft():
        rules = (f"nft insert rule {chain} {way} 'pu-*' accept" for way in ("iifname", "oifname"))
        yield chain, "; ".join(rules)
    for program, names, family, level, target_at in _OLD:
        if _is_in_use(names) and _forward_policy(family, level, target_at) == _DROP:
            rules = (f"{program} -I FORWARD {way} 'pu-+' -j ACCEPT" for way in ("-i", "-o"))
            yield f"chain FORWARD of {program}", "; ".join(rules)


def _of_nft() -> Iterator[str]:
    """FAMILY TABLE CHAIN."""
    nft = programs.find("nft")
    status, output, _ = programs.run([nft, "-j", "list", "chains"]) if nft else (1, "", "")
    for one in json.loads(output)["nftables"] if not status else ():
        chain = one.get("chain", {})
        if chain.get("hook") == "forward" and chain.get("policy") == "drop":
            yield f"{chain['family']} {chain['table']} {chain['name']}"


def _is_in_use(names: str) -> bool:
    """Whether there is such a table: asking the kernel about one that isn't would make it."""
    try:
        with open(names, "rb") as file:
            return _TABLE in file.read().split()
    except OSError:
        return False


def _forward_policy(family: int, level: int, target_at: int) -> int:
    """The verdict with which the chain FORWARD ends."""
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as any_socket:
        info = ask_option(any_socket.fileno(), level, _GET_INFO, _TABLE.ljust(_INFO.size, b"\0"))
        _, _, *places, _, size = _INFO.unpack(info)
        head = _TABLE.ljust(_NAME_BYTES, b"\0") + struct.pack("=I", size)
        table = ask_option(any_socket.fileno(), level, _GET_ENTRIES, head.ljust(_ENTRIES_AT + size, b"\0"))
    entry = table[_ENTRIES_AT + places[5 + _FORWARD] :]
    (target,) = struct.unpack_from("=H", entry, target_at)
    (verdict,) = struct.unpack_from("=i", entry, target + _FIXED_BYTES)
    return int(verdict)
