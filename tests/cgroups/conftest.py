"""Containers with limits."""

from tests.e2e.conftest import Pyunion, busybox, pyunion, wait_for

__all__ = ["Pyunion", "busybox", "pyunion", "wait_for"]
