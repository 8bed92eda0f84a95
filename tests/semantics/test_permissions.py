"""Extended attributes, ACLs, permissions (rules 74 to 82)."""

import os

import pytest

from tests.semantics.sidebyside import (
    TIMES,
    opaque,
    outcome,
    put,
    run_beside,
    shell,
)
from tests.support import needs

pytestmark = [needs.root]


def test_74_75_76_marks_are_hidden_and_escaped(tmp_path):
    def build(layers):
        put(layers[1] / "f", "x")
        opaque(layers[0] / "dir")
        put(layers[1] / "dir/x", "x")

    def act(root):
        os.setxattr(root / "f", "trusted.overlay.x", b"1")
        os.setxattr(root / "f", "trusted.overlayx", b"2")
        big = outcome(os.setxattr, root / "f", "user.big", b"x" * 100_000)
        return (
            sorted(os.listxattr(root / "f")),
            os.getxattr(root / "f", "trusted.overlay.x"),
            os.listxattr(root / "dir"),
            outcome(os.getxattr, root / "dir", "trusted.overlay.opaque"),
            outcome(os.getxattr, root / "f", "user.none"),
            outcome(os.removexattr, root / "f", "user.none"),
            outcome(os.removexattr, root / "f", "system.posix_acl_access"),
            outcome(os.setxattr, root / "f", "user.none", b"", os.XATTR_REPLACE),
            outcome(os.setxattr, root / "f", "trusted.overlayx", b"", os.XATTR_CREATE),
            big,
        )

    run_beside(tmp_path, build, act, ignore=TIMES)


@pytest.mark.uses("POSIX_ACL")
def test_79_permissions_are_those_of_the_caller(tmp_path):
    def build(layers):
        put(layers[1] / "secret/f", "x")
        (layers[1] / "secret").chmod(0o700)
        put(layers[1] / "readable", "x", 0o644)
        put(layers[1] / "acl", "x", 0o600)
        shell("setfacl -m u:1000:r acl", layers[1])
        (layers[1] / "sticky").mkdir()
        put(layers[1] / "sticky/root", "x")
        (layers[1] / "sticky").chmod(0o1777)

    def act(root):
        tries = ("cat secret/f", "cat readable", "echo x >> readable", "cat acl", "echo x >> acl", "rm -f sticky/root",
                 "mv sticky/root sticky/x", "touch sticky/mine", "chmod 777 readable")
        user = "setpriv --reuid 1000 --regid 1000 --clear-groups sh -c"
        return [(command, shell(f"{user} '{command}'", root) == 0) for command in tries]

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_80_a_strangers_write_clears_set_id_bits(tmp_path):
    def build(layers):
        for name in ("write", "truncate", "root", "not-executable"):
            f = put(layers[1] / name, "data")
            shell(f"setcap cap_net_raw+ep {name}", layers[1])
            f.chmod(0o6766 if name == "not-executable" else 0o6777)

    def act(root):
        user = "setpriv --reuid 1000 --regid 1000 --clear-groups sh -c"
        shell(f"{user} 'echo x >> write; truncate -s 1 truncate; echo x >> not-executable'", root)
        shell("echo x >> root", root)
        return [(oct((root / n).stat().st_mode), os.listxattr(root / n)) for n in sorted(os.listdir(root))]

    run_beside(tmp_path, build, act, ignore=TIMES)


def test_81_nothing_can_be_changed_without_an_upper(tmp_path, union_mount):
    put(tmp_path / "lower/f", "x")
    root = union_mount([tmp_path / "lower"]).path
    assert [
        outcome(os.open, root / "f", os.O_WRONLY),
        outcome(os.unlink, root / "f"),
        outcome(os.mkdir, root / "d"),
        outcome(os.chmod, root / "f", 0o600),
        outcome(os.utime, root / "f"),
        outcome(os.setxattr, root / "f", "user.x", b""),
        outcome(os.rename, root / "f", root / "g"),
        outcome(os.link, root / "f", root / "g"),
    ] == ["EROFS"] * 8
    assert (root / "f").read_text() == "x"
