"""The control groups of a container: what limits it, counts what it uses, and stops it as a whole.

A container's group is a directory pyunion/ID in each hierarchy that has something for us (hierarchies.py), or
PARENT/ID with --cgroup-parent. Nothing else of the hierarchies is touched, but that version 2 needs its controllers
handed down from group to group.

`limits` everywhere is that of the container's configuration: fields of Limits, and

    cgroups         enabled (the default), best-effort (limits that can't be had here are left out) or disabled
    cgroup_parent   a path below which the group is made instead of ours; it is made, too, and stays
    device_rules    texts, each a DeviceRule beyond the usual ones
"""

import os
from typing import Any

from runtime.container import devices
from runtime.container.cgroups import hierarchies
from runtime.container.cgroups.group import Group, Part
from runtime.container.limits import from_json
from runtime.errors import Refusal, describe

_OWN_PARENT = "pyunion"
_MOST_ROUNDS = 100


def create(identity: str, limits: dict[str, Any], privileged: bool = False) -> Group:
    """Make the group of a new container. Raises Refusal, which names the limit that can't be had here."""
    mode = limits.get("cgroups", "enabled")
    group = Group([], own_parent="cgroup_parent" not in limits)
    if mode == "disabled":
        return group
    parent = limits.get("cgroup_parent", _OWN_PARENT)
    try:
        for hierarchy in hierarchies.find():
            _make(group, hierarchy, f"{hierarchy.base}/{parent}/{identity}")
        group.apply(from_json(limits), best_effort=mode == "best-effort")
        _allow_devices(group, limits, privileged)
    except BaseException:
        group.remove()
        raise
    return group


def find(identity: str, limits: dict[str, Any]) -> Group:
    """The group of a container that was made before; one of no parts if there is none."""
    parent = limits.get("cgroup_parent", _OWN_PARENT)
    found = [(hierarchy, f"{hierarchy.base}/{parent}/{identity}") for hierarchy in hierarchies.find()]
    parts = [Part(*hierarchy[:2], path) for hierarchy, path in found if os.path.isdir(path)]
    return Group(parts, own_parent="cgroup_parent" not in limits)


def _make(group: Group, hierarchy: hierarchies.Hierarchy, path: str) -> None:
    """Make the group's directory in one hierarchy, if that is allowed."""
    part = Part(*hierarchy[:2], path)
    for _ in range(_MOST_ROUNDS):
        try:
            part.rules.make(hierarchy.base, path, hierarchy.controllers)
        except FileNotFoundError:
            continue  # another container was the last, and took the directory above
        except OSError:
            return  # not ours to use; who needs it, asks for a limit, and hears that it isn't there
        group.parts.append(part)
        return


def _allow_devices(group: Group, limits: dict[str, Any], privileged: bool) -> None:
    """Restrict devices to the usual ones and those that were asked for."""
    rules = [*devices.DEFAULT, *map(devices.parse_rule, limits.get("device_rules", ()))]
    if privileged or devices.ALL in rules:
        return
    for part in group.parts:
        if "devices" in part.controllers or (part.version == 2 and not _in_version_1(group, "devices")):
            try:
                part.rules.allow_devices(part.path, rules)
            except OSError as error:
                if os.geteuid() == 0:
                    raise Refusal(f"list of devices: {describe(error)}") from None


def _in_version_1(group: Group, controller: str) -> bool:
    return any(controller in part.controllers for part in group.parts)
