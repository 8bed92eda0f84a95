"""A driver's log, imported when there is something to say: `logging` takes 4 ms, which a mount's start doesn't pay."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import Logger


def log() -> "Logger":
    """Where what a driver has to say goes; driver.log_to() says how far."""
    import logging

    return logging.getLogger("pyunionfs")
