"""Whether a container whose command has ended is started again, and when."""

from runtime.container.record import Container
from runtime.errors import UsageError

_FIRST_DELAY_S = 0.1
_MOST_DELAY_S = 60.0
_GOOD_RUN_S = 10.0
"""A command that ran this long is started again as if for the first time."""
NAMES = ("no", "always", "unless-stopped", "on-failure")


def parse(text: str) -> tuple[str, int]:
    """`NAME` or `on-failure:COUNT`: the name, and how often at most (0: without end). Raises UsageError."""
    name, colon, count = text.partition(":")
    if name not in NAMES or (colon and (name != "on-failure" or not (count.isascii() and count.isdigit()))):
        raise UsageError(f"invalid restart policy {text!r}: there are {', '.join(NAMES)}[:COUNT]")
    return name, int(count or 0)


class Policy:
    """The delays of one monitor: doubled at every start, from 0.1 s to a minute."""

    def __init__(self) -> None:
        self._delay_s = _FIRST_DELAY_S
        self._count = 0

    def next(self, container: Container, status: int, *, ran_s: float) -> float | None:
        """How long to wait before the next start, or None if there is to be none.

        `status` is the exit status, `ran_s` how long the command ran, negative if it never did. The policy is read
        from the container's record each time, for `update` may have changed it.
        """
        if ran_s < 0 and self._count == 0:
            return None  # it was the first start, whose failure the caller hears of
        name, most = parse(container.config().restart) if container.exists() else ("no", 0)
        if name == "no" or (name == "on-failure" and (status == 0 or 0 < most <= self._count)):
            return None
        if ran_s >= _GOOD_RUN_S:
            self._delay_s = _FIRST_DELAY_S
        self._count += 1
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, _MOST_DELAY_S)
        return delay_s
