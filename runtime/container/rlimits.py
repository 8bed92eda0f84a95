"""What the kernel keeps for each process: limits (`--ulimit`), and how soon it is ended when memory is out."""

import resource

from runtime.container.config import Config
from runtime.errors import Refusal, UsageError

NAMES = {
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "locks": 10,  # include/uapi/asm-generic/resource.h: RLIMIT_LOCKS
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}


def parse(text: str) -> tuple[str, list[int]]:
    """NAME=SOFT[:HARD], -1 or unlimited for none. Raises UsageError."""
    name, equals, values = text.partition("=")
    soft, colon, hard = values.partition(":")
    if name not in NAMES or not equals:
        raise UsageError(f"invalid ulimit {text!r}: it is NAME=SOFT[:HARD], NAME one of {', '.join(NAMES)}")
    try:
        limits = [-1 if value == "unlimited" else int(value) for value in (soft, hard if colon else soft)]
    except ValueError:
        raise UsageError(f"invalid ulimit {text!r}: its limits are no numbers") from None
    if limits[1] != -1 and (limits[0] == -1 or limits[0] > limits[1]):
        raise UsageError(f"invalid ulimit {text!r}: the soft limit is above the hard one")
    return name, limits


def apply(config: Config, pid: int = 0) -> None:
    """Set them for this process, or `pid`, and its children. Raises Refusal: it takes more privileges than we have."""
    for name, (soft, hard) in config.ulimits.items():
        try:
            resource.prlimit(pid, NAMES[name], (soft, hard))
        except (OSError, ValueError) as error:
            raise Refusal(f"--ulimit {name}={soft}:{hard}: {error}") from None
    if config.oom_score_adj is not None:
        with open(f"/proc/{pid or 'self'}/oom_score_adj", "w") as file:
            file.write(str(config.oom_score_adj))
