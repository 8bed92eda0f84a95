"""Whether processors are free: only then may we poll without sleeping, or whoever asks waits for our time slice."""

import os
import time

_LOOK_AGAIN_S = 0.05


class Crowd:
    """How many threads want to run on this machine, looked up now and then (5 µs)."""

    def __init__(self) -> None:
        self._processors = len(os.sched_getaffinity(0))
        self._fd = -1
        try:
            self._fd = os.open("/proc/loadavg", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._processors = 1  # then nobody knows
        self._next_look = 0.0
        self._crowded = self._processors < 2

    def is_crowded(self) -> bool:
        """Whether more threads want to run than there are processors, ours among them."""
        now = time.monotonic()
        if now >= self._next_look and self._processors > 1:
            self._next_look = now + _LOOK_AGAIN_S
            # 0.20 0.18 0.12 1/80 11206: the fourth is running/all
            running = os.pread(self._fd, 64, 0).split()[3].partition(b"/")[0]
            self._crowded = int(running) > self._processors
        return self._crowded

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
