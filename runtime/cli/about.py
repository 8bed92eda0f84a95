"""The verbs that tell about the whole: `info` and `version`."""

import os
import platform
import sys
from importlib.metadata import version as version_of
from typing import Any

from runtime.cli.options import Parsed, verb
from runtime.cli.tables import FORMAT_DESCRIBED, print_one
from runtime.container.cgroups import hierarchies
from runtime.container.describe import status_of
from runtime.container.store import Store
from runtime.image.platform import this_machine
from runtime.image.store import ImageStore
from runtime.places import Places
from runtime.sizes import size_text

_INFO = (
    ("Containers", "Containers"), (" Running", "ContainersRunning"), (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"), ("Images", "Images"), ("Version", "ServerVersion"),
    ("Storage Driver", "Driver"), ("Cgroup Version", "CgroupVersion"), ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"), ("OSType", "OSType"), ("Architecture", "Architecture"),
    ("CPUs", "NCPU"), ("Total Memory", "MemTotal"), ("Name", "Name"), ("Root Dir", "DockerRootDir"),
)  # fmt: skip
"""What people read, and the field as Docker calls it."""


@verb("info", "", "Tell about this machine, and how many containers and images there are.", (FORMAT_DESCRIBED,), most=0)
def info(options: Parsed, places: Places) -> int:
    """`pyunion info`. Raises Refusal."""
    about = _about(places)
    if options.one("format"):
        print_one(about, options.one("format"))
        return 0
    for head, field in _INFO:
        print(f"{head}: {size_text(about[field]) if field == 'MemTotal' else about[field]}")
    return 0


@verb("version", "", "Tell which version this is.", (FORMAT_DESCRIBED,), most=0)
def version(options: Parsed, _places: Places) -> int:
    """`pyunion version`: the same for client and server, as there is no server. Raises UsageError."""
    here = this_machine()
    one = {
        "Version": version_of("pyunion"), "Os": here.os, "Arch": here.architecture,
        "KernelVersion": os.uname().release, "PythonVersion": platform.python_version(),
    }  # fmt: skip
    if options.one("format"):
        print_one({"Client": one, "Server": one}, options.one("format"))
        return 0
    kind = f"{one['Os']}/{one['Arch']}"
    print(f"pyunion {one['Version']}, {kind}, Linux {one['KernelVersion']}, Python {one['PythonVersion']}")
    return 0


def _about(places: Places) -> dict[str, Any]:
    store = Store(places)
    store.sweep()
    states = [status_of(container, container.state()) for container in store.all()]
    running, paused = (sum(state in kinds for state in states) for kinds in (("running", "restarting"), ("paused",)))
    machine = os.uname()
    return {
        "Containers": len(states),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": len(states) - running - paused,
        "Images": len(ImageStore(places).images()),
        "ServerVersion": version_of("pyunion"),
        "Driver": "pyunion",
        "CgroupVersion": "2" if all(one.version == 2 for one in hierarchies.find()) else "1",
        "KernelVersion": machine.release,
        "OperatingSystem": _operating_system(),
        "OSType": sys.platform,
        "Architecture": machine.machine,
        "NCPU": os.cpu_count(),
        "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "Name": machine.nodename,
        "DockerRootDir": places.root,
    }


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "Linux"
