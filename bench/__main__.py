"""python -m bench [WORKLOAD...]: measure, and print tables."""

import argparse
import sys
import time

import bench.workloads  # noqa: F401  (they add themselves)
from bench import report
from bench.mounts import SYSTEMS, add_fuse_overlayfs, installed
from bench.results import Results
from bench.runner import Plan, Run
from bench.workload import WORKLOADS


def main(arguments: list[str]) -> int:
    """Measure what the arguments say."""
    asked = _parser().parse_args(arguments)
    if asked.fuse_overlayfs:
        add_fuse_overlayfs(asked.fuse_overlayfs)
    systems = [system for system in installed() if not asked.mounts or system.name in asked.mounts]
    plan = Plan(systems, asked.rounds or (1 if asked.quick else 5), asked.quick)
    results = Results()
    for name in asked.workloads or WORKLOADS:
        started = time.monotonic()
        Run(WORKLOADS[name], plan, results).run()
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    rows = [row for workload in WORKLOADS.values() for row in workload.rows]
    print(report.table(results, rows, [system.name for system in systems]))
    print()
    print(report.requests_table(results, "pyunion"))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure unions side by side.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", choices=[[], *WORKLOADS], help=", ".join(WORKLOADS))
    parser.add_argument("--mounts", nargs="+", metavar="NAME", choices=list(SYSTEMS), help=", ".join(SYSTEMS))
    parser.add_argument("--rounds", type=int, help="timed rounds of each workload (5)")
    parser.add_argument("--quick", action="store_true", help="one round, smaller files")
    parser.add_argument("--fuse-overlayfs", metavar="PROGRAM", help="measure this one too, under its version's name")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
