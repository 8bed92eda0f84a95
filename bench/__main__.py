"""python -m bench [WORKLOAD...]: measure unions side by side, and print or write the tables. docs/performance.md."""

import argparse
import compileall
import os
import signal
import sys
import time

import bench.workloads  # noqa: F401  (they add themselves)
from bench import containers, empty_request, plot, report, unpack  # noqa: F401
from bench.contest import CONTESTS, run_contest
from bench.mounts import HOUSE, OURS, OVERLAY, SYSTEMS, add_fuse_overlayfs, installed
from bench.results import Results
from bench.runner import Plan, Run
from bench.workload import WORKLOADS

_ROUNDS = 5
_PHASES = "phases"


def main(arguments: list[str]) -> int:
    """Measure what the arguments say."""
    asked = _parser().parse_args(arguments)
    if unknown := set(asked.names) - {*WORKLOADS, *CONTESTS, _PHASES}:
        print(f"bench: no such workload: {', '.join(sorted(unknown))} (--list says which there are)", file=sys.stderr)
        return 2
    if asked.list:
        _print_names()
        return 0
    if asked.quick and asked.write:
        print("bench: --quick measures less than the page says: it can't be written there", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("bench: needs root: it mounts, and empties the machine's caches", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # what is mounted is unmounted on the way out
    _compile()
    results = _measure(asked)
    if asked.write:
        results.save(HOUSE / report.FIGURES, keeping=bool(asked.names))
        results = Results.load(HOUSE / report.FIGURES)
        report.write_page(results, HOUSE / report.PAGE)
        plot.write_all(results, (HOUSE / report.FIGURES).parent)
    print(report.everything(results))
    return 1 if any(OURS in columns for columns in results.failures.values()) else 0


def _compile() -> None:
    """Have all byte code there, as an installation has; importing may be told not to write any."""
    for room in ("unionfs", "runtime", "tools"):
        compileall.compile_dir(HOUSE / room, quiet=1)
    compileall.compile_file(HOUSE / "pyunion.py", quiet=1)


def _measure(asked: argparse.Namespace) -> Results:
    if asked.fuse_overlayfs:
        add_fuse_overlayfs(asked.fuse_overlayfs)
    systems = [system for system in installed() if not asked.mounts or system.name in asked.mounts]
    plan = Plan(systems, asked.rounds or (1 if asked.quick else _ROUNDS), asked.quick)
    results = Results()
    for name in asked.names or [*WORKLOADS, *CONTESTS, _PHASES]:
        started = time.monotonic()
        if name in WORKLOADS:
            Run(WORKLOADS[name], plan, results).run()
        elif name == _PHASES:
            containers.measure_phases(asked.rounds or (1 if asked.quick else _ROUNDS), results)
        else:
            run_contest(CONTESTS[name], asked.rounds or (1 if asked.quick else CONTESTS[name].rounds), results)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    return results


def _print_names() -> None:
    for workload in WORKLOADS.values():
        print(f"{workload.name:18} {(workload.run.__doc__ or '').splitlines()[0]}")
    for contest in CONTESTS.values():
        print(f"{contest.name:18} {(contest.prepare.__doc__ or '').splitlines()[0]}")
    print(f"{_PHASES:18} {containers.measure_phases.__doc__}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure unions side by side.")
    parser.add_argument("names", nargs="*", metavar="WORKLOAD", help="which (default: all; --list)")
    parser.add_argument("--list", action="store_true", help="say what is measured, and exit")
    parser.add_argument("--mounts", nargs="+", metavar="NAME", choices=list(SYSTEMS),
                        help=f"on which filesystems ({'; '.join(SYSTEMS)}); ratios are to {OVERLAY}")  # fmt: skip
    parser.add_argument("--rounds", type=int, help=f"timed rounds ({_ROUNDS}; of contests, their own number)")
    parser.add_argument("--quick", action="store_true", help="one round, smaller files")
    parser.add_argument("--fuse-overlayfs", metavar="PROGRAM", help="measure this one too, under its version's name")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {report.PAGE}, its data and plots")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
