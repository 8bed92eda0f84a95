"""What of /proc and /sys a container doesn't see, or can't write: Docker's lists, as --security-opt changes them.

Paths are relative to the root.
"""

from typing import Any, NamedTuple

MASKED = (
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
)
READ_ONLY = ("proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger")


class Hidden(NamedTuple):
    """Paths that are covered, and paths that are made read-only."""

    masked: list[bytes]
    read_only: list[bytes]


def hidden(security: dict[str, Any], privileged: bool) -> Hidden:
    """By the configuration's `security`: mask and unmask are lists of paths; unmask may hold ALL."""
    shown = security.get("unmask", [])
    every = privileged or "ALL" in shown
    masked = [] if every else [path for path in MASKED if f"/{path}" not in shown]
    read_only = [] if every else [path for path in READ_ONLY if f"/{path}" not in shown]
    masked += [path.strip("/") for path in security.get("mask", [])]
    return Hidden([path.encode() for path in masked], [path.encode() for path in read_only])
