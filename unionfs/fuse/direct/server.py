"""The loop: one thread reads requests and answers them; threads of `workers` do what is slow.

The device is polled before it is read. While requests follow one another closely and processors are free it is polled
without sleeping.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from select import POLLIN, poll
from types import FrameType

from unionfs.core.union import Union
from unionfs.fuse import kernel
from unionfs.fuse.crowd import Crowd
from unionfs.fuse.direct import session, statistics
from unionfs.fuse.direct.bulk import Bulk
from unionfs.fuse.direct.device import Device, EndedError
from unionfs.fuse.direct.dispatch import Dispatcher, Tracer
from unionfs.fuse.direct.mount import Mount
from unionfs.fuse.direct.passthrough import Passthrough
from unionfs.fuse.direct.protocol import Init, Opcode
from unionfs.fuse.direct.session import Session, Wishes
from unionfs.fuse.direct.workers import Workers
from unionfs.fuse.log import log
from unionfs.fuse.mounting import ENDING_SIGNALS
from unionfs.linux import mountinfo

_SPIN_S = 40e-6
"""How long the device is polled without sleeping while requests follow one another: to be woken on another
processor takes longer than a request (44 instead of 26 µs each, on 2 processors of a virtual machine; when these are
contended it is 30 instead of 40)."""
_BRISK_S = 60e-6
"""A request that comes sooner than this after the last one is followed by another."""
_MOST_PUT_AWAY = 64
_STACKED = (b"overlay", b"fuse", b"fuseblk", b"ecryptfs")


def serve(
    union: Union,
    fd: int,
    target: bytes | None,
    *,
    timeout_s: float,
    debug: bool,
    lower_io: str = "auto",
    idmap: bool = True,
) -> None:
    """Serve the connection `fd` until it ends; `fd` is closed then. Raises OSError: the kernel is too old.

    `lower_io`: "cached", "shared", or "auto", which is shared where nothing can be copied up. `idmap` as in Wishes.
    """
    server = Server(union, fd, target)
    shared = lower_io == "shared" or (lower_io == "auto" and union.read_only)
    wishes = Wishes(union.options.acl and union.options.xattrs, stack_depth(union, shared=shared), idmap)
    try:
        agreed = server.agree(wishes)
        if agreed is not None:
            passthrough = Passthrough(fd, enabled=Init.PASSTHROUGH in agreed.features, shared=shared)
            server.run(Mount(union, agreed, passthrough, server.store, timeout_s), debug=debug)
    except EndedError:
        return
    finally:
        server.close()


class Server:
    """One connection being served."""

    def __init__(self, union: Union, fd: int, target: bytes | None) -> None:
        self._device = Device(fd)
        self.store = self._device.store
        self._target = target
        self._workers = Workers()
        self._crowd = Crowd()
        self._ending = False
        self._poll = poll()
        self._poll.register(fd, POLLIN)
        self._poll.register(self._workers.fd, POLLIN)

    def agree(self, wishes: Wishes) -> Session | None:
        """Answer INIT, or several of them, and return what was agreed. Raises EndedError, UnsupportedKernelError."""
        while True:
            self._poll.poll()
            request = self._device.receive()
            if request is None or request.opcode != Opcode.INIT:
                continue
            agreed, reply = session.negotiate(*session.offered(request), wishes)
            self._device.reply(request.unique, reply)
            if agreed is not None:
                return agreed

    def run(self, mount: Mount, *, debug: bool) -> None:
        """Answer requests until the connection ends or a signal says so. Raises EndedError."""
        dispatcher = (Tracer if debug else Dispatcher)(mount, self._device, self._workers)
        if not debug:
            mount.bulk = Bulk(self._device, self._workers)
        mount.union.put_away = self._put_away
        target = self._target
        if not kernel.set_read_ahead_early(self._device.fd) and target is not None:
            self._workers.submit(lambda: kernel.set_read_ahead(target), _unheard)
        with self._signals(mount.requests):
            self._loop(dispatcher.handle)

    def _put_away(self, fd: int) -> None:
        """Close `fd` in a thread, unless many wait to be closed."""
        if self._workers.busy < _MOST_PUT_AWAY:
            self._workers.submit(lambda: os.close(fd), _unheard)
        else:
            os.close(fd)

    def _loop(self, handle: Callable[..., None]) -> None:
        """Take requests in turn, and what workers have finished between them."""
        device, workers, look, now = self._device, self._workers, self._poll.poll, time.monotonic
        crowd, brisk = self._crowd, False
        while not self._ending:
            started = now()
            ready = look(0)
            if not ready and brisk and not crowd.is_crowded():
                deadline = started + _SPIN_S
                while not ready and now() < deadline:
                    ready = look(0)
            if not ready:
                ready = look()
                brisk = now() < started + _BRISK_S
            for fd, _ in ready:
                if fd == device.fd:
                    request = device.receive()
                    if request is not None:
                        handle(request)
                else:
                    workers.collect()

    @contextlib.contextmanager
    def _signals(self, requests: list[int]) -> Iterator[None]:
        """End on SIGTERM and its kind, by unmounting; tell on SIGUSR1 which requests came."""
        handlers: dict[signal.Signals, Callable[[int, FrameType | None], object]]
        handlers = dict.fromkeys(ENDING_SIGNALS, self._end)
        handlers[signal.SIGIO] = lambda *_: None  # somebody else opens a file on which we have a lease, for a moment
        handlers[signal.SIGUSR1] = lambda *_: log().warning("requests: %s", _shown(requests))
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, *_: object) -> None:
        """Unmount, in a thread: requests are served meanwhile, as the last unmount writes dirty pages back."""
        target = self._target
        if target is None:
            self._workers.submit(lambda: None, self._stop)  # which wakes the loop
        else:
            self._workers.submit(lambda: _unmount(target), self._stop)

    def _stop(self, _: Exception | None) -> None:
        self._ending = True

    def close(self) -> None:
        """Drop the connection; a mount that is still there answers ENOTCONN from then on."""
        self._workers.close()
        self._crowd.close()
        self._device.close()


def stack_depth(union: Union, *, shared: bool) -> int:
    """What to say in Wishes: 2 if a layer whose files may be passed through lies on a stacked filesystem itself."""
    layers = [layer for layer in union.layers if shared or layer.is_upper]
    if not layers:
        return 0
    mounted = [mountinfo.of_device(device) for device in {os.fstat(layer.root).st_dev for layer in layers}]
    return 2 if any(mount is not None and mount.fstype.split(b".")[0] in _STACKED for mount in mounted) else 1


def _shown(requests: list[int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in statistics.named(requests).items()) or "none"


def _unmount(target: bytes) -> None:
    with contextlib.suppress(OSError):  # somebody else did, or it isn't ours to unmount: the connection ends anyway
        kernel.unmount(target)


def _unheard(_: Exception | None) -> None:
    """Nobody waits for it."""
