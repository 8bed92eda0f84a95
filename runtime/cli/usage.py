"""The verbs about what containers may use and do use: `update` and `stats`."""

import os
import sys
import time
from typing import Any

from runtime.cli.flags.limits import parse_limits
from runtime.cli.flags.process import RESTART
from runtime.cli.flags.tables import UPDATE
from runtime.cli.options import Option, Parsed, verb
from runtime.cli.run import each, open_store
from runtime.cli.tables import FORMAT, print_rows
from runtime.container import cgroups, restart
from runtime.container.config import Config
from runtime.container.limits import Limits, from_json, to_json
from runtime.container.record import Container, open_process
from runtime.container.store import Store
from runtime.errors import Refusal
from runtime.names import SHORT_ID
from runtime.places import Places
from runtime.sizes import size_text

_STATS = (
    FORMAT,
    Option("no-stream", "show it once; processor time is that since the start then"),
    Option("no-trunc", "show whole ids"),
)
_UPDATE = (*UPDATE, RESTART)
_COLUMNS = (
    ("CONTAINER ID", "Container"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("NET I/O", "NetIO"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
)
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_INTERVAL_S = 1
_HOME_AND_CLEAR = "\033[H\033[J"
_UNLIMITED = 1 << 60
"""What version 1 says of a group without a limit is about the largest number there is."""


@verb("update", "CONTAINER [CONTAINER...]", "Change the limits of containers, at once if they run.", _UPDATE, least=1)
def update(options: Parsed, places: Places) -> int:
    """`pyunion update`: 1 if a container couldn't be changed. Raises UsageError."""
    parse_limits(options)  # what makes no sense is said before anything is changed
    limited = any(options.many(option.name) for option in UPDATE)
    policy = options.one(RESTART.name)
    restart.parse(policy or "no")
    store = open_store(places)

    def change(name: str) -> None:
        container = store.find(name)
        config = container.config()
        limits = parse_limits(options, from_json(config.limits))
        if policy not in ("", "no") and config.auto_remove:
            raise Refusal(f"container {name} was made with --rm: it can't be restarted", status=1)
        if limited and _runs(container):
            _limit(container, config, limits)
        more = to_json(limits)
        store.change(
            container,
            lambda now: now._replace(limits={**now.limits, **more}, restart=policy or now.restart),
        )

    return each("update", options.words, change)


@verb("stats", "[CONTAINER...]", "Show what running containers use: all of them, or those named.", _STATS)
def stats(options: Parsed, places: Places) -> int:
    """`pyunion stats`. Raises Refusal."""
    store = open_store(places)
    named = [store.find_running(name) for name in options.words]
    before: dict[str, _Sample] = {}
    while True:
        rows, before = _rows(named or _running(store), before, options.on("no-trunc"))
        if not options.on("no-stream") and sys.stdout.isatty():
            print(_HOME_AND_CLEAR, end="")
        print_rows(rows, _COLUMNS, options.one("format"), fields=("ID",))
        if options.on("no-stream"):
            return 0
        sys.stdout.flush()
        time.sleep(_INTERVAL_S)


def _limit(container: Container, config: Config, limits: Limits) -> None:
    try:
        cgroups.find(container.id, config.limits).update(limits)
    except Refusal:
        os.close(open_process(container))  # it may have ended meanwhile, which explains it
        raise


class _Sample:
    """What a container has used until now."""

    def __init__(self, container: Container) -> None:
        state = container.state()
        config = container.config()
        self.name = config.name
        self.used = cgroups.find(container.id, config.limits).stats()
        self.moment_s = time.time()
        self.started_s = float(state["started_s"])
        self.traffic = _traffic(state["pid"]) if config.network != "host" else (0, 0)

    def load(self, before: "_Sample | None") -> float:
        """Processors in use, on average since `before` or the start; 1.0 is one all the time."""
        since, used = (before.moment_s, before.used["cpu_ns"]) if before else (self.started_s, 0)
        return (self.used["cpu_ns"] - used) / 1e9 / max(self.moment_s - since, 0.001)


def _rows(
    containers: list[Container], before: dict[str, _Sample], whole: bool
) -> tuple[list[dict[str, Any]], dict[str, _Sample]]:
    samples = {}
    for container in containers:
        try:
            samples[container.id] = _Sample(container)
        except OSError:  # ENOENT, ENODEV, ESRCH: it ended meanwhile
            continue
    rows = [_row(identity, sample, before.get(identity), whole) for identity, sample in samples.items()]
    return rows, samples


def _row(identity: str, sample: _Sample, before: _Sample | None, whole: bool) -> dict[str, Any]:
    used = sample.used
    limit = used["memory_limit"]
    most = limit if 0 < limit < _UNLIMITED else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    received, sent = sample.traffic
    return {
        "Container": identity if whole else identity[:SHORT_ID],
        "ID": identity,
        "Name": sample.name,
        "CPUPerc": f"{sample.load(before):.2%}",
        "MemUsage": f"{_binary(used['memory'])} / {_binary(most)}",
        "MemPerc": f"{used['memory'] / most:.2%}",
        "NetIO": f"{size_text(received)} / {size_text(sent)}",
        "BlockIO": f"{size_text(used['read_bytes'])} / {size_text(used['written_bytes'])}",
        "PIDs": used["pids"],
    }


def _binary(size: int) -> str:
    """A size in the units in which memory is limited: 64m shows as 64MiB."""
    amount, power = float(size), 0
    while amount >= 1024:
        amount, power = amount / 1024, power + 1
    return f"{amount:.4g}{_UNITS[power]}"


def _traffic(pid: int) -> tuple[int, int]:
    """Bytes that all interfaces of a container's network have received and sent."""
    from runtime.network.namespace import counters

    found = counters(pid).values()
    return sum(one.rx_bytes for one in found), sum(one.tx_bytes for one in found)


def _runs(container: Container) -> bool:
    return bool(container.state()["status"] == "running")


def _running(store: Store) -> list[Container]:
    return [container for container in store.all() if _runs(container)]
