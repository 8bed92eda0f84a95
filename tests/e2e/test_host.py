"""`--host`: a throw-away copy of this machine."""

import hashlib
import sys
from pathlib import Path

from tests.e2e.conftest import Pyunion


def test_the_machine_stays_as_it_is(pyunion: Pyunion, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    before = hashlib.sha256(Path("/etc/passwd").read_bytes()).digest()
    script = f"echo x >>/etc/passwd; rm -rf {victim} /usr/share/doc; touch /new-file; tail -1 /etc/passwd; ls /new-file"
    result = pyunion("run", "--host", "--rm", "sh", "-c", script)
    assert (result.stdout, result.stderr) == ("x\n/new-file\n", "")
    assert hashlib.sha256(Path("/etc/passwd").read_bytes()).digest() == before
    assert victim.read_text() == "precious\n"
    assert Path("/usr/share/doc").is_dir()
    assert not Path("/new-file").exists()


def test_the_files_of_this_machine_are_there(pyunion: Pyunion) -> None:
    result = pyunion("run", "--host", "--rm", "sha256sum", "/bin/sh")
    assert result.stdout.split()[0] == hashlib.sha256(Path("/bin/sh").read_bytes()).hexdigest()


def test_the_state_directory_cannot_be_seen_whatever_is_renamed(pyunion: Pyunion) -> None:
    state = pyunion.root.parent
    above = state.parent
    script = f"ls -A {state}; [ -e {above}.moved ] || mv {above} {above}.moved; find {above}.moved {above}"
    seen = pyunion("run", "--host", "--name", "peep", "sh", "-c", script).stdout
    seen += pyunion("start", "-a", "peep").stdout
    assert f"{above}.moved" in seen
    assert "skeleton" not in seen
    assert "lock" not in seen


def test_diff_is_about_the_container_only(pyunion: Pyunion) -> None:
    pyunion("run", "--host", "--name", "h", "sh", "-c", "rm /etc/debian_version; touch /root/x")
    lines = pyunion("diff", "h").stdout.splitlines()
    assert {"C /etc", "D /etc/debian_version", "A /root/x"} <= set(lines)
    assert [line for line in lines if str(pyunion.root.parent) in line] == []


def test_programs_of_this_machine_run(pyunion: Pyunion) -> None:
    result = pyunion("run", "--host", "--rm", "python3", "-c", "import json, sqlite3, ssl; print('fine')")
    assert (result.stdout, result.stderr) == ("fine\n", "")


def test_python_modules_of_an_image_are_never_imported(pyunion: Pyunion, layer: Path) -> None:
    """Our first process is an interpreter among the container's files: wherever it could look, a trap is set."""
    folders = {path for path in (*sys.path, str(Path(__file__).parents[2]), sys.prefix, "/") if path.startswith("/")}
    for folder in map(Path, folders):
        for name in ("encodings", "linecache", "traceback", "locale", "socket", "tools", "runtime", "unionfs", "tty"):
            package = layer / folder.relative_to("/") / name
            package.mkdir(parents=True)
            for file in (package / "__init__.py", package.with_suffix(".py")):
                file.write_text("open('/trapped', 'w').close()\n")
    for command in ("no-such-program", "-u nobody true", "-w /etc/passwd true", "-t false"):
        assert pyunion.run_on(layer, *command.split()).returncode in (1, 125, 127)
    result = pyunion.run_on(layer, "-t", "-u", "alice", "sh", "-c", "ls /trapped")
    assert "No such file" in result.stdout
