"""Every request in the log, for -d: what was asked, what was answered, how long it took."""

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any

from unionfs.fuse.log import log
from unionfs.fuse.pyfuse3_ops import UnionOperations

_SHOWN = 80


def trace(operations: UnionOperations) -> None:
    """Log the requests that `operations` gets. Without this, none of it costs anything."""
    for name in vars(UnionOperations):
        handler = getattr(operations, name)
        if inspect.iscoroutinefunction(handler):
            setattr(operations, name, _traced(name, handler))


def _traced(name: str, handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def traced(*arguments: Any) -> Any:
        started = time.perf_counter()
        answer = "ok"
        try:
            return await handler(*arguments)
        except BaseException as error:
            answer = f"{type(error).__name__} {error}"
            raise
        finally:
            took_us = (time.perf_counter() - started) * 1e6
            log().debug("%s(%s): %s, %.0f µs", name, ", ".join(map(_shown, arguments)), answer, took_us)

    return traced


def _shown(argument: object) -> str:
    if not isinstance(argument, bytes | int | list):
        return type(argument).__name__
    text = repr(argument)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
