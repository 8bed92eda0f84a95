"""Volumes with a name: directories that outlive containers.

    ROOT/volumes/NAME/_data         what containers see
                     /volume.json   when it was made, its labels; of one without a name, the container it is for
"""

import json
import os
import time
from contextlib import suppress
from typing import Any

from runtime.container.config import Volume
from runtime.errors import Refusal, UsageError, named
from runtime.names import RULE, is_name
from runtime.places import Places
from runtime.trees import remove_tree


class NamedVolumes:
    """All of one root."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._directory = f"{places.root}/volumes"

    def create(self, name: str, labels: dict[str, str], container: str = "") -> str:
        """The name of a volume that is there now; without a name, of a new one, for a container. Raises UsageError."""
        name = name or os.urandom(32).hex()
        if not is_name(name):
            raise UsageError(f"invalid volume name {name!r}: {RULE}")
        place = f"{self._directory}/{name}"
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(place, mode=0o701)
            with named(place), open(f"{place}/volume.json", "w", encoding="ascii") as file:
                json.dump({"created_s": time.time(), "labels": labels, "container": container}, file)
        with suppress(FileExistsError):
            os.mkdir(f"{place}/_data")
            os.chmod(f"{place}/_data", 0o755)
        return name

    def placed(self, volume: Volume, container: str) -> Volume:
        """A mount of a volume with the directory that its source names, which is made if it is missing."""
        if volume.image or volume.source.startswith("/"):
            return volume
        name = self.create(volume.source, {}, "" if volume.source else container)
        return volume._replace(source=self.path(name), name=name)

    def names(self) -> list[str]:
        """All, in order."""
        with suppress(FileNotFoundError):
            return sorted(os.listdir(self._directory))
        return []

    def describe(self, name: str) -> dict[str, Any]:
        """All about a volume, in Docker's words. Raises Refusal: there is none."""
        place = f"{self._directory}/{name}"
        if not name or "/" in name or not os.path.isdir(place):
            raise Refusal(f"no such volume: {name}", status=1)
        about = self._about(name)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(about.get("created_s", 0)))
        return {
            "CreatedAt": created,
            "Driver": "local",
            "Labels": about.get("labels", {}),
            "Mountpoint": self.path(name),
            "Name": name,
            "Options": {},
            "Scope": "local",
        }

    def path(self, name: str) -> str:
        """What containers see of it, as a directory of this machine."""
        return f"{self._directory}/{name}/_data"

    def labels_and_birth(self, name: str) -> tuple[dict[str, str], float]:
        """Labels of a volume, and the second when it was made."""
        about = self._about(name)
        return about.get("labels", {}), about.get("created_s", 0.0)

    def remove_nameless(self, container: str) -> None:
        """Remove those that were made for a container without a name, but for those that another container has."""
        names = {name for name in self.names() if self._about(name).get("container") == container}
        for name in names - self._of_others(container) if names else ():
            self.remove(name)

    def _of_others(self, container: str) -> set[str]:
        from runtime.container.store import Store

        found: set[str] = set()
        for other in Store(self._places).all():
            with suppress(FileNotFoundError):  # removed meanwhile
                found.update(volume.name for volume in other.config().volumes if other.id != container)
        return found

    def _about(self, name: str) -> dict[str, Any]:
        with suppress(FileNotFoundError, ValueError), open(f"{self._directory}/{name}/volume.json", "rb") as file:
            return dict(json.load(file))
        return {}

    def remove(self, name: str) -> None:
        """Remove it with what it holds. Precondition: no container has it. Raises Refusal: there is none."""
        self.describe(name)
        remove_tree(f"{self._directory}/{name}")
