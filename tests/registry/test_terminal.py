"""What people see while images come and go, and what the verbs cost those who don't use them."""

import io
import os
import pty
import subprocess
import sys

import pytest

from runtime.image.registry.progress import Bars
from tests.registry.client import Client
from tests.registry.servers import Server
from tests.support import needs


@needs.root
def test_on_a_terminal_each_layer_has_a_line_that_is_written_over(client: Client, plain: Server) -> None:
    ours, theirs = pty.openpty()
    environ = client.environ(TERM="xterm", COLUMNS="100", LINES="50")
    argv = client.argv("pull", f"{plain.host}/t/many:1")
    process = subprocess.Popen(argv, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: they have left
            break
        said += piece
    os.close(ours)
    assert process.wait() == 0
    lines = screen(said.decode())
    assert sum("Pull complete" in line for line in lines) == 30
    assert not any("Downloading" in line for line in lines)
    assert lines[-1] == f"{plain.host}/t/many:1"


def test_more_layers_than_the_window_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "10")
    stream = io.StringIO()
    bars = Bars(stream)
    bars.say("Pulling")
    for number in range(20):
        bars.state(f"layer{number}", "Waiting")
    bars.bytes("layer19", "Downloading", 50, 100)
    bars.close()
    lines = screen(stream.getvalue())
    assert lines[0:2] == ["Pulling", "(12 more)"]
    assert len(lines) == 10
    assert "50B/100B" in lines[-1]


@needs.root
def test_in_a_pipe_lines_are_plain(client: Client, plain: Server) -> None:
    assert "\x1b" not in client.succeeds("pull", f"{plain.host}/t/many:1")


@pytest.mark.parametrize("module", ["tools.main", "runtime.cli.run", "runtime.cli.registries", "runtime.image.store"])
def test_urllib3_is_imported_by_nobody_who_does_not_need_it(module: str) -> None:
    code = f"import sys, {module}; print('urllib3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def screen(text: str) -> list[str]:
    """The lines that a terminal shows after it got `text`, which moves up, clears, and writes."""
    lines, row = [""], 0
    for line in text.replace("\r", "").split("\n"):
        while line.startswith("\x1b["):
            number = ""
            line = line[2:]
            while line[0].isdigit():
                number, line = number + line[0], line[1:]
            order, line = line[0], line[1:]
            if order == "A":
                row = max(0, row - int(number))
            elif order == "J":
                del lines[row:]
                lines.append("")
            elif order == "K":
                lines[row] = ""
        if line:
            lines[row] = line + lines[row][len(line) :]
        row += 1
        if row == len(lines):
            lines.append("")
    while lines and not lines[-1]:
        lines.pop()
    return lines
