"""What steps of builds made: a small document for each key, which is all that the result depends on, hashed.

    ROOT/cache/KEY      JSON; `layer` (a descriptor) and `diff_id`, if the step made one, keep that from collection

Entries appear whole and are never changed. One that can't be read counts as absent: the step is just done again.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from runtime.drafts import beside
from runtime.image.digest import Digest, parse_digest
from runtime.image.errors import Corrupt


class Cache:
    """The documents of one store."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def get(self, key: str) -> dict[str, Any] | None:
        try:
            with open(f"{self._directory}/{key}", encoding="utf-8") as file:
                value = json.load(file)
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def put(self, key: str, value: dict[str, Any]) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        path = f"{self._directory}/{key}"
        draft = beside(path)
        with open(draft, "x", encoding="utf-8") as file:
            json.dump(value, file)
        os.rename(draft, path)

    def layers(self) -> Iterator[tuple[Digest, Digest]]:
        """Digest and diff id of each layer that an entry has."""
        for key in self._keys():
            entry = self.get(key) or {}
            with suppress(Corrupt, AttributeError):
                yield parse_digest(entry.get("layer", {}).get("digest")), parse_digest(entry.get("diff_id"))

    def clear(self) -> None:
        for key in self._keys():
            with suppress(FileNotFoundError):
                os.unlink(f"{self._directory}/{key}")

    def _keys(self) -> list[str]:
        try:
            return os.listdir(self._directory)
        except FileNotFoundError:
            return []
