"""Containers with limits."""

from tests.e2e.conftest import Pyunion, busybox, network, pyunion, wait_for

__all__ = ["Pyunion", "busybox", "network", "pyunion", "wait_for"]
