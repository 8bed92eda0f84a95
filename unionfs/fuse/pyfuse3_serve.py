"""Serving a mounted connection by pyfuse3 on trio. Imports both (0.2 s)."""

import signal

import trio

from unionfs.core.union import Union
from unionfs.fuse import kernel, pyfuse3_ops, trace
from unionfs.fuse.loop import Loop
from unionfs.fuse.mounting import ENDING_SIGNALS


def serve(union: Union, fd: int, target: bytes | None, *, timeout_s: float, debug: bool) -> None:
    """As `unionfs.fuse.serve.serve`."""
    trio.run(_serve, union, fd, target, timeout_s, debug)


async def _serve(union: Union, fd: int, target: bytes | None, timeout_s: float, debug: bool) -> None:
    loop = Loop()
    operations = pyfuse3_ops.UnionOperations(union, loop, timeout_s)
    if debug:
        trace.trace(operations)
    pyfuse3_ops.attach(operations, fd, loop)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_on_signal, target, loop)
            if target is not None:
                nursery.start_soon(_set_read_ahead, target, loop)
            await pyfuse3_ops.serve_session()
            nursery.cancel_scope.cancel()
    finally:
        pyfuse3_ops.close_session()


async def _end_on_signal(target: bytes | None, loop: Loop) -> None:
    with trio.open_signal_receiver(*ENDING_SIGNALS) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
        async for _ in signals:
            break
    if target is not None:
        with loop.sleep():  # requests are served meanwhile: the last unmount writes dirty pages back
            await trio.to_thread.run_sync(_unmount, target, abandon_on_cancel=True)
    pyfuse3_ops.end_session()


def _unmount(target: bytes) -> None:
    try:
        kernel.unmount(target)
    except OSError:
        return  # somebody else did, or it isn't ours to unmount: dropping the connection ends it all the same


async def _set_read_ahead(target: bytes, loop: Loop) -> None:
    with loop.sleep():
        await trio.to_thread.run_sync(kernel.set_read_ahead, target, abandon_on_cancel=True)
