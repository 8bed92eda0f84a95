"""Programs as `run` and `exec` execute them, which walk no path that could change: what the kernel would have done."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.container.execute import execute
from tests.support import needs
from unionfs.linux import mounts, process

_SHELL = "/bin/sh"


def become(path: Path | str, *args: str, before: Callable[[], object] = lambda: None) -> str:
    """What the program prints, or the name of the error, in a process forked for it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        try:
            before()
            execute(str(path), [str(path), *args], {"A": "b"})
        except BaseException as error:
            os.write(1, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


def program(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o755)
    return path


def test_a_program_gets_its_arguments_and_environment() -> None:
    assert become(_SHELL, "-c", 'echo "$0,$1,$A"', "x y", "é") == "x y,é,b\n"


@pytest.mark.parametrize("line", ["#!{0}", "#! {0}", "#!\t{0} \t", "#!{0}\n#!/bin/false"])
def test_a_script_is_run_by_its_interpreter(tmp_path: Path, line: str) -> None:
    script = program(tmp_path / "script", line.format(_SHELL) + '\necho "$0 $1 $#"\n')
    assert become(script, "a b") == f"{script} a b 1\n"


def test_the_rest_of_the_first_line_is_one_argument(tmp_path: Path) -> None:
    show = program(tmp_path / "show", f'#!{_SHELL}\nfor x; do echo "[$x]"; done\n')
    script = program(tmp_path / "script", f"#!{show}  a b\tc \n")
    assert become(script, "d") == f"[a b\tc]\n[{script}]\n[d]\n"


@pytest.mark.parametrize("line", ["#!", "#!\n", "#! \t\n", "#!" + "/" * 300])
def test_a_first_line_without_an_interpreter_makes_no_script(tmp_path: Path, line: str) -> None:
    assert "Exec format error" in become(program(tmp_path / "script", line))


def test_scripts_that_are_each_others_interpreters_end(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    program(one, f"#!{other}\n")
    program(other, f"#!{one}\n")
    assert "Too many levels" in become(one)


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to("again")
    (tmp_path / "again").symlink_to(_SHELL)
    assert become(tmp_path / "sh", "-c", "echo run") == "run\n"


@needs.root
def test_a_directory_that_cannot_be_searched_is_no_hindrance_from_within(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "open").mkdir(parents=True)
    program(closed / "open/script", f"#!{_SHELL}\necho run\n")

    def enter() -> None:
        os.chdir(closed / "open")
        closed.chmod(0)
        os.setresuid(1000, 1000, 1000)

    assert become("./script", before=enter) == "run\n"


@pytest.mark.parametrize("what", ["absent", "directory", "directory/", "plain", "empty", "no interpreter"])
def test_what_cannot_be_executed_is_the_kernels_error(tmp_path: Path, what: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    program(tmp_path / "empty", "")
    program(tmp_path / "no interpreter", "#!/absent\n")
    errors = {"absent": "FileNotFoundError", "no interpreter": "FileNotFoundError", "empty": "OSError: [Errno 8]"}
    assert become(f"{tmp_path}/{what}").startswith(errors.get(what, "PermissionError"))


@pytest.mark.parametrize("link", ["/proc/self/exe", "/proc/thread-self/exe", "/proc/self/root/bin/sh"])
def test_nothing_is_executed_by_way_of_a_magic_link(tmp_path: Path, link: str) -> None:
    (tmp_path / "link").symlink_to(link)
    script = program(tmp_path / "script", f"#!{link} -c print(1)\n")
    by_link = program(tmp_path / "by-link", f"#!{tmp_path}/link -c print(1)\n")
    for path in (link, tmp_path / "link", script, by_link):
        assert "Too many levels" in become(path, "-c", "echo 1")


@needs.root
def test_a_program_of_another_machine_is_run_by_whom_the_kernel_knows_for_it(tmp_path: Path) -> None:
    """binfmt_misc(5), in a user namespace of its own: Linux 6.7."""
    foreign = program(tmp_path / "foreign", b"FOREIGN 1\n")
    cat = shutil.which("cat") or "cat"

    def register() -> None:
        process.unshare(process.CLONE_NEWUSER | process.CLONE_NEWNS)
        for file, text in (("uid_map", "0 0 1"), ("setgroups", "deny"), ("gid_map", "0 0 1")):
            Path("/proc/self", file).write_text(text)
        place = tmp_path / "binfmt"
        place.mkdir()
        fd = mounts.fsmount(b"binfmt_misc", {})
        target = os.open(place, os.O_PATH)
        mounts.move_mount(fd, target)
        (place / "register").write_text(f":ours:M::FOREIGN::{cat}:\n")

    answer = become(foreign, before=register)
    if answer.startswith(("PermissionError", "OSError")):
        needs.missing(f"binfmt_misc in user namespaces: {answer.strip()}")
    assert answer == "FOREIGN 1\n"
