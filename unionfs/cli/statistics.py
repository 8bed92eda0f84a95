"""`pyunion mount --stats [--json] MOUNTPOINT`: which requests a mounted union got since it was mounted."""

import json
import os
import sys
from collections.abc import Sequence

_USAGE = "usage is --stats [--json] MOUNTPOINT"


def main(arguments: Sequence[bytes]) -> int:
    """Print the counts of a mount, as a table or as JSON; the exit status is 1 if there are none."""
    from unionfs.fuse.direct import statistics

    places = [argument for argument in arguments if argument != b"--json"]
    if len(places) != 1 or places[0].startswith(b"-"):
        return _complain(f"one mount point, please: {_USAGE}")
    try:
        counts = statistics.ask(places[0])
    except OSError as error:
        return _complain(f"{os.fsdecode(places[0])!r}: {error.strerror}")
    print(json.dumps({"requests": counts}) if b"--json" in arguments else _table(counts))
    return 0


def _table(counts: dict[str, int]) -> str:
    rows = counts | {"total": sum(counts.values())}
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}} {count:>10}" for name, count in rows.items())


def _complain(text: str) -> int:
    print(f"pyunionfs: {text}", file=sys.stderr)
    return 1
