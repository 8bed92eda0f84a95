"""Archives that try to get out of their layer, one trick each. CANARY is a directory outside that each tries to change.

A layer that holds one is either refused or unpacked harmlessly; what is never allowed is a change outside.
"""

import struct
import tarfile
from collections.abc import Callable
from typing import Any

from tests.image_store.layouts import archive, member

Member = tuple[tarfile.TarInfo, bytes]
SYM, LNK, DIR, CHR, BLK, FIFO = (
    tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
)  # fmt: skip
UP = "../" * 20


def _link(name: str, target: str, kind: bytes = SYM) -> Member:
    return member(name, kind, linkname=target)


def _pax(name: str, **records: str) -> Member:
    return member(name, data=b"evil", pax_headers=records)


def corpus(canary: str) -> dict[str, bytes]:
    """Every archive by its trick."""
    evil: Callable[[str], Member] = lambda name: member(name, data=b"evil")  # noqa: E731
    device: dict[str, Any] = {"devmajor": 1, "devminor": 3}
    tricks: dict[str, list[Member]] = {
        "dotdot": [evil(f"{UP}{canary}/planted")],
        "dotdot in the middle": [member("a", DIR), evil(f"a/{UP}{canary}/planted")],
        "dotdot alone": [member("..", DIR, mode=0o777)],
        "dotdot at the end": [member("a/..", DIR, mode=0o700)],
        "dotdot in a directory": [member(f"{UP}{canary}/made", DIR)],
        "dotdot by PAX": [_pax("innocent", path=f"{UP}{canary}/planted")],
        "dotdot by GNU long name": [evil("x/" * 60 + UP + canary + "/planted")],
        "absolute name": [evil(f"{canary}/planted")],
        "absolute name with slashes": [evil(f"//{canary}//planted")],
        "absolute directory": [member(canary, DIR, mode=0)],
        "absolute name by PAX": [_pax("innocent", path=f"{canary}/planted")],
        "absolute symlink, then a file through it": [_link("out", canary), evil("out/planted")],
        "relative symlink, then a file through it": [_link("out", UP + canary[1:]), evil("out/planted")],
        "symlink to the root, then a file through it": [_link("out", "/"), evil(f"out{canary}/planted")],
        "symlink to dotdot, then a file through it": [_link("out", ".."), evil(f"out/{UP}planted")],
        "chain of symlinks": [_link("a", "b"), _link("b", "c"), _link("c", canary), evil("a/planted")],
        "symlink loop": [_link("a", "b"), _link("b", "a"), evil("a/planted")],
        "symlink, then a directory through it": [_link("out", canary), member("out/made", DIR)],
        "symlink, then the same name as a directory": [_link("out", canary), member("out", DIR, mode=0), evil("out/x")],
        "symlink, then the same name as a file": [_link("out", f"{canary}/file"), evil("out")],
        "symlink, then a symlink through it": [_link("out", canary), _link("out/planted", "/etc/passwd")],
        "symlink, then a device through it": [_link("out", canary), member("out/planted", CHR, **device)],
        "symlink, then a FIFO through it": [_link("out", canary), member("out/planted", FIFO)],
        "symlink, then a hard link through it": [evil("a"), _link("out", canary), _link("out/planted", "a", LNK)],
        "symlink in a directory that is replaced": [
            member("d", DIR), evil("d/x"), _link("d", canary), evil("d/planted"), evil("d/file"),
        ],
        "directory behind a cached name": [
            member("d/e", DIR), evil("d/e/x"), _link("d/e", canary), evil("d/e/planted"),
        ],
        "symlink of /proc": [_link("out", "/proc/self/cwd"), evil("out/planted")],
        "symlink to /proc/self/root": [_link("out", "/proc/self/root"), evil(f"out{canary}/planted")],
        "hard link to outside": [_link("in", f"{canary}/file", LNK), evil("in")],
        "hard link to outside by dotdot": [_link("in", f"{UP}{canary}/file", LNK), evil("in")],
        "hard link through a symlink": [_link("out", canary), _link("in", "out/file", LNK), evil("in")],
        "hard link to a symlink, then a file": [
            _link("out", f"{canary}/file"), _link("in", "out", LNK), evil("in"),
        ],
        "hard link to a directory": [member("d", DIR), _link("in", "d", LNK)],
        "hard link to the root": [_link("in", ".", LNK)],
        "hard link to itself": [_link("in", "in", LNK)],
        "hard link to /etc/passwd": [_link("in", "/etc/passwd", LNK), evil("in")],
        "root replaced by a symlink": [_link(".", canary), evil("planted")],
        "root replaced by a symlink, slashed": [_link("./", canary), evil("planted")],
        "root replaced by a file": [evil("./.")],
        "root as a slash is a symlink": [_link("/", canary), evil("planted")],
        "whiteout of dotdot": [evil(".wh...")],
        "whiteout of dot": [evil(".wh..")],
        "whiteout of nothing": [evil(".wh.")],
        "whiteout through dotdot": [evil(f"{UP}{canary}/.wh.file")],
        "whiteout through a symlink": [_link("out", canary), evil("out/.wh.file")],
        "opaque through a symlink": [_link("out", canary), evil("out/.wh..wh..opq")],
        "whiteout of a whiteout": [evil(".wh..wh.a")],
        "whiteout as a directory": [member(".wh.d", DIR), evil(".wh.d/x")],
        "aufs's own": [evil(".wh..wh.aufs"), member(".wh..wh.plnk", DIR), evil(".wh..wh.plnk/1.2")],
        "device node of the disk": [member("disk", BLK, mode=0o666, devmajor=8, devminor=0)],
        "set-user-id file": [member("suid", data=b"evil", mode=0o6777)],
        "NUL in a name": [_pax("innocent", path=f"{canary}/planted\0x")],
        "NUL in a link": [member("a", SYM, linkname="x", pax_headers={"linkpath": f"{canary}\0"}), evil("a/planted")],
        "empty name": [_pax("innocent", path="")],
        "name of 4 KiB": [evil("n/" * 2047 + "x"), evil("m" * 255)],
        "name of 64 KiB": [evil("n/" * 32768)],
        "name of 300 letters in one": [evil("n" * 300)],
        "marks of the driver": [_pax("a", **{"SCHILY.xattr.trusted.overlay.redirect": f"{UP}{canary}"})],
        "owner by the driver's xattr": [_pax("a", **{"SCHILY.xattr.user.containers.override_stat": "0:0:6777"})],
        "xattr without a name": [_pax("a", **{"SCHILY.xattr.": "x"})],
        "number beyond all": [_pax("a", uid="99999999999")],
        "time beyond all": [_pax("a", mtime="9" * 30)],
        "size beyond all": [_pax("a", size="9" * 19)],
        "negative size": [_pax("a", size="-1")],
        "sparse map beyond the file": [_pax("a", **{"GNU.sparse.map": "0,999999", "GNU.sparse.size": "4"})],
        "sparse name": [_pax("a", **{
            "GNU.sparse.name": f"{UP}{canary}/planted", "GNU.sparse.map": "0,4", "GNU.sparse.size": "4"})],
    }  # fmt: skip
    made = {trick: archive(members) for trick, members in tricks.items()}
    made["GNU dotdot"] = archive([evil(f"{UP}{canary}/planted" + "x" * 120)], tarfile.GNU_FORMAT)
    made["cut off"] = archive([member("big", data=bytes(5000))])[:3000]
    made["no archive"] = b"this is no archive" * 100
    made["wrong checksum"] = bytes([*archive([evil("a")])[:10], 1, *archive([evil("a")])[11:]])
    made["PAX record that lies about its length"] = _raw_pax(b"999999 path=x\n")
    made["PAX record without end"] = _raw_pax(b"11 path=xyz")
    made["unknown kind"] = archive([member("a", b"Z")])
    return made


def _raw_pax(body: bytes) -> bytes:
    """An archive with a PAX header as given before an innocent file."""
    info = tarfile.TarInfo("PaxHeaders/x")
    info.type = tarfile.XHDTYPE
    info.size = len(body)
    header = info.tobuf(tarfile.USTAR_FORMAT)
    return header + struct.pack("512s", body) + archive([member("a", data=b"x")], tarfile.USTAR_FORMAT)
