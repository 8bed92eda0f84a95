"""Containers with limits."""

from tests.e2e.conftest import Pyunion, busybox, own_network, pyunion
from tests.support.waiting import wait_for

__all__ = ["Pyunion", "busybox", "own_network", "pyunion", "wait_for"]
