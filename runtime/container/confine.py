"""What a process of a container can do at most."""

from typing import Any, NamedTuple

from runtime.container import capabilities
from runtime.container.users import User
from unionfs.linux import process
from unionfs.linux.capset import Caps, capset


class Confinement(NamedTuple):
    """Masks of capabilities: bit N is capability N."""

    bounding: int
    no_new_privileges: bool


def confinement(security: dict[str, Any], privileged: bool) -> Confinement:
    """What the configuration says. Computed before import is switched off."""
    everything = (1 << 41) - 1
    return Confinement(everything if privileged else capabilities.DEFAULT, False)


def drop(confined: Confinement) -> None:
    """Give up what no process of the container may gain."""
    process.drop_bounding_set(confined.bounding)
    capset(Caps(confined.bounding, confined.bounding, 0))


def apply(confined: Confinement, user: User) -> None:
    """The last step before execve(), when the ids are set already."""
    if user.uid != 0:
        capset(Caps(0, 0, 0))  # the bounding set remains, for set-user-id programs
