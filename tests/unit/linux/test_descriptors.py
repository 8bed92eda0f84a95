"""Which descriptors a process has."""

import subprocess
import sys

import pytest

_SCRIPT = r"""
import os
from unionfs.linux.descriptors import point_at_null
os.dup2(1, 9)
for fd in {closed}:
    os.close(fd)
point_at_null(0, 1, 2)
os.execvp("sh", ["sh", "-c", "found=$(readlink /proc/$$/fd/[012]); echo \"$found\" >&9"])
"""


@pytest.mark.parametrize("closed", [(), (0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_programs_that_are_executed_have_null_devices_too(closed: tuple[int, ...]) -> None:
    argv = [sys.executable, "-c", _SCRIPT.format(closed=closed)]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "/dev/null\n" * 3)
