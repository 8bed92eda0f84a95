"""What people see meanwhile: on a terminal a line for each layer, written over; elsewhere plain lines; or nothing."""

import os
import shutil
import sys
import threading
import time
from typing import TextIO

from runtime.sizes import size_text

_LEAST_PAUSE_S = 0.1
_BAR = 24


class Progress:
    """Plain lines on `stream`: what began to happen to each part, once. For several threads at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """A line of its own."""
        with self._lock:
            self._write(f"{text}\n")

    def state(self, part: str, text: str) -> None:
        """`part` came to a new state."""
        self.say(f"{part}: {text}")

    def bytes(self, part: str, text: str, done: int, size: int) -> None:
        """`done` of `size` bytes of a part are through."""

    def close(self) -> None:
        """It is over."""

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # nobody looks any more; the work goes on
            pass


class Silence(Progress):
    """--quiet."""

    def say(self, text: str) -> None:
        pass

    def state(self, part: str, text: str) -> None:
        pass


class Bars(Progress):
    """A terminal: the last lines belong to the parts and are written over."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: dict[str, str] = {}
        self._shown = 0
        self._last_s = 0.0

    def say(self, text: str) -> None:
        with self._lock:
            self._write(f"{self._rewind()}\x1b[J{text}\n")
            self._shown = 0
            self._draw()

    def state(self, part: str, text: str) -> None:
        with self._lock:
            self._lines[part] = f"{part}: {text}"
            self._draw()

    def bytes(self, part: str, text: str, done: int, size: int) -> None:
        with self._lock:
            filled = _BAR * done // size if size else _BAR
            bar = "=" * filled + ">" * (filled < _BAR)
            self._lines[part] = f"{part}: {text:<12} [{bar:<{_BAR}}] {_text(done)}/{_text(size)}"
            if time.monotonic() - self._last_s >= _LEAST_PAUSE_S:
                self._draw()

    def close(self) -> None:
        with self._lock:
            self._draw()
            self._lines.clear()
            self._shown = 0

    def _draw(self) -> None:
        """Only as many lines as the window has can be reached again: those that still change are the last."""
        columns, rows = shutil.get_terminal_size()
        lines = [line[: columns - 1] for line in self._lines.values()]
        hidden = len(lines) - max(1, rows - 2)
        if hidden > 0:
            lines = [f"({hidden} more)", *lines[hidden:]]
        self._write(self._rewind() + "".join(f"\x1b[2K{line}\n" for line in lines))
        self._shown = len(lines)
        self._last_s = time.monotonic()

    def _rewind(self) -> str:
        return f"\x1b[{self._shown}A\r" if self._shown else ""


def make_progress(quiet: bool, stream: TextIO | None = None) -> Progress:
    """The kind that fits; on standard error unless told otherwise."""
    stream = stream or sys.stderr
    if quiet:
        return Silence(stream)
    if stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb"):
        return Bars(stream)
    return Progress(stream)


def _text(size: int) -> str:
    return size_text(size, digits=4)
