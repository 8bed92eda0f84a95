"""runtime.container.users: hostile and odd passwd files; the usual ones are in the end-to-end tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.container.users import User, look_up
from runtime.errors import Refusal


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_without_passwd_numbers_work_and_names_do_not(root: int) -> None:
    assert look_up(root, "") == User(0, 0, [], "/")
    assert look_up(root, "5:6") == User(5, 6, [], "/")
    with pytest.raises(Refusal, match="root"):
        look_up(root, "root")


def test_a_name_of_digits_goes_before_the_number(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").write_text("a:x:7:7::/a:\n7:x:8:9::/b:\n")
    assert look_up(root, "7") == User(8, 9, [], "/b")


def test_broken_lines_are_passed_over(root: int, tmp_path: Path) -> None:
    broken = b"\n:::::::\nx\nbob:x:-1:0::/:\nbob:x:99999999999:0::/:\n"
    (tmp_path / "etc/passwd").write_bytes(broken + b"bob:x:3:4::/h:\xff\n")
    assert look_up(root, "bob") == User(3, 4, [], "/h")


@pytest.mark.parametrize("spec", ["-1", "4294967295", "0x0", "1e3", "٣", " 1", "1:-1", "1:٣"])
def test_odd_numbers_are_refused(root: int, spec: str) -> None:
    with pytest.raises(Refusal):
        look_up(root, spec)


def test_a_link_out_is_looked_up_inside(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").symlink_to("/etc/elsewhere")
    (tmp_path / "etc/elsewhere").write_text("bob:x:3:4::/h:\n")
    assert look_up(root, "bob").uid == 3


@pytest.mark.parametrize("kind", ["fifo", "huge", "directory", "magic"])
def test_what_is_no_ordinary_file_is_refused(root: int, tmp_path: Path, kind: str) -> None:
    passwd = tmp_path / "etc/passwd"
    if kind == "fifo":
        os.mkfifo(passwd)
    elif kind == "huge":
        passwd.touch()
        os.truncate(passwd, 1 << 40)
    elif kind == "directory":
        passwd.mkdir()
    else:
        passwd.symlink_to("/proc/self/fd/0")
    with pytest.raises(Refusal):
        look_up(root, "bob")
