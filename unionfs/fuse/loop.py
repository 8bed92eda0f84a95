"""The loop under pyfuse3: what it uses in place of trio, so that a request doesn't pay for trio's scheduler.

pyfuse3 waits for each request with a trio lock and `trio.lowlevel.wait_readable`: two or three rounds of the scheduler
and an epoll_wait, 30 µs of the 49 that an empty request takes. Here the device is polled first, and trio is entered
when nothing comes, when slow work is under way in a thread, and every few milliseconds, so that signals and the
results of threads get in. pyfuse3's own `asyncio` module shows that the name `trio` in it is meant to be replaced.

One rule for workers: one of them has the device. A worker whose handler goes to sleep hands the device to another,
a parked one or a new one; so there are never more workers than requests that sleep, and one.
"""

import time
from collections.abc import Awaitable, Callable
from select import POLLIN, poll
from types import TracebackType
from typing import Any, TypeVar

import trio

T = TypeVar("T")

_IDLE_POLL_MS = 10
"""How long the device is polled before trio sleeps on it; signals wait no longer than this."""
_SPIN_S = 40e-6
"""How long the device is polled without sleeping while requests follow one another: to be woken on another
processor takes as long as four requests (48 instead of 20 µs each, on 2 processors of a virtual machine)."""
_BRISK_S = 60e-6
"""A request that comes sooner than this after the last one is followed by another."""
_CHECKPOINT_S = 0.02
"""How often trio gets its turn under a stream of requests."""
_CHECKPOINT_SLOW_S = 0.0005
"""The same while threads work whose results requests wait for."""


class Loop:
    """The workers of one mount, and what stands in for the module `trio` in pyfuse3."""

    ClosedResourceError = trio.ClosedResourceError

    def __init__(self, max_threads: int = 16) -> None:
        self.lowlevel = self
        """pyfuse3 says `trio.lowlevel.wait_readable`."""
        self.current_task = trio.lowlevel.current_task
        self.current_trio_token = trio.lowlevel.current_trio_token
        self._nursery: trio.Nursery | None = None
        self._worker: tuple[Callable[..., Awaitable[None]], tuple[Any, ...]] | None = None
        self._parked = trio.lowlevel.ParkingLot()
        self._device_taken = False
        self._sleeping = 0
        self._threads = trio.CapacityLimiter(max_threads)
        self._poll = poll()
        self._polled = -1
        self._brisk = False
        """Requests follow one another closely."""
        self._next_checkpoint = 0.0

    # What pyfuse3 calls

    def Lock(self) -> "Loop":  # noqa: N802
        """The lock around the device: itself, as there is one."""
        return self

    async def __aenter__(self) -> None:
        while self._device_taken:
            await self._parked.park()
        self._device_taken = True

    async def __aexit__(self, *_: object) -> None:
        # nobody is woken: this worker comes back, unless its handler sleeps, and then it hands over
        self._device_taken = False

    async def wait_readable(self, fd: int) -> None:
        """Return when a request can be read from `fd`."""
        if fd != self._polled:
            self._poll.register(fd, POLLIN)
            self._polled = fd
        now = time.monotonic()
        if now >= self._next_checkpoint:
            await trio.lowlevel.checkpoint()
            now = time.monotonic()
            self._next_checkpoint = now + _CHECKPOINT_S
        if self._sleeping:
            self._next_checkpoint = min(self._next_checkpoint, now + _CHECKPOINT_SLOW_S)
            ready = bool(self._poll.poll(0))
        else:
            ready = self._poll_device(now)
        if not ready:
            await trio.lowlevel.wait_readable(fd)

    def _poll_device(self, now: float) -> bool:
        """Whether a request came in the next few milliseconds; nothing else wants this thread."""
        look = self._poll.poll
        if self._brisk:
            deadline = now + _SPIN_S
            while not look(0):
                if time.monotonic() > deadline:
                    break
            else:
                return True
        ready = bool(look(_IDLE_POLL_MS))
        self._brisk = time.monotonic() < now + _BRISK_S
        return ready

    def notify_closing(self, fd: int) -> None:
        """Let the worker that waits for `fd` see that the session is over."""
        trio.lowlevel.notify_closing(fd)

    def open_nursery(self) -> "_Nursery":
        return _Nursery(self)

    # What the handlers call

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Run `function` in a worker thread; other requests are served meanwhile."""
        with self.sleep():
            return await trio.to_thread.run_sync(function, limiter=self._threads)

    def sleep(self) -> "_Sleep":
        """Around an `await` in a handler that doesn't come back at once."""
        return _Sleep(self)

    # Workers

    def _hand_over(self) -> None:
        if self._device_taken:
            return
        if self._parked:
            self._parked.unpark()
        elif self._nursery is not None and self._worker is not None:
            function, arguments = self._worker
            self._nursery.start_soon(self._run_worker, function, arguments)

    async def _run_worker(self, function: Callable[..., Awaitable[None]], arguments: tuple[Any, ...]) -> None:
        try:
            await function(*arguments)
        finally:
            self._parked.unpark_all()  # the session may be over, which each has to see


class _Sleep:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        self._loop._sleeping += 1
        self._loop._hand_over()

    def __exit__(self, *_: object) -> None:
        self._loop._sleeping -= 1


class _Nursery:
    """Starts the first worker; those that pyfuse3 would add are left to `Loop._hand_over`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> "_Nursery":
        self._loop._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._manager.__aexit__(kind, error, trace)
        finally:
            self._loop._nursery = None

    def start_soon(self, function: Callable[..., Awaitable[None]], *arguments: Any, name: object = None) -> None:
        loop = self._loop
        if loop._worker is None and loop._nursery is not None:
            loop._worker = (function, arguments)
            loop._nursery.start_soon(loop._run_worker, function, arguments)
