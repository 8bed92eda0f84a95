"""`pyunion doctor`."""

import json
import sys
from collections.abc import Iterator

from runtime.cli.options import Option, Parsed, verb
from runtime.errors import UsageError, one_line
from runtime.places import Places
from tools.doctor import containers, layers, machine
from tools.doctor.finding import Finding

_OPTIONS = (
    Option("json", "print the findings as JSON"),
    Option("lower", "look at DIR as a read-only layer; repeatable, the uppermost first", "", "DIR"),
    Option("upper", "look at DIR as the layer that is written, with --workdir", "", "DIR"),
    Option("workdir", "the work directory of that; its contents are what a mount would make of them", "", "DIR"),
)
_ABOUT = (
    "Tell what this machine can do for this user, what is missing, and what to do about it. Without directories, the\n"
    "filesystem on which containers are kept is looked at as an upper."
)
_MARKS = {"ok": "ok     ", "less": "less   ", "missing": "MISSING"}


@verb("doctor", "", _ABOUT, _OPTIONS, most=0)
def doctor(options: Parsed, places: Places) -> int:
    """The exit status is 1 if something is missing without which unions can't be mounted, or containers run."""
    if bool(options.one("upper")) != bool(options.one("workdir")):
        raise UsageError("--upper and --workdir belong together")
    findings = [*machine.check(), *_layers(options, places), *containers.check()]
    if options.on("json"):
        print(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        _print(findings)
    return int(any(finding.state == "missing" for finding in findings))


def _layers(options: Parsed, places: Places) -> Iterator[Finding]:
    lowers, upper = options.many("lower"), options.one("upper")
    if lowers or upper:
        yield from layers.check(lowers, upper, options.one("workdir"))
        return
    try:
        with layers.scratch(places.root) as (upper, workdir):
            yield from layers.check((), upper, workdir, called=f"under {places.root}")
    except OSError as error:
        remedy = "another place, by --root DIR"
        yield Finding(places.root, "missing", f"containers can't be kept there: {error.strerror}", remedy)


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.about) for finding in findings)
    for finding in findings:
        print(f"{_MARKS[finding.state]} {one_line(finding.about):<{width}}  {one_line(finding.fact)}")
        if finding.remedy:
            print(f"{'':{width + 8}}  → {one_line(finding.remedy)}")
    sys.stdout.flush()
