"""index.json of an OCI image layout: which images there are, and by what names. Replaced at once, under a lock.

Names are annotations (org.opencontainers.image.ref.name), one entry for each; an image that lost its last name keeps
an entry without one, until it is removed. Entries of others are kept as they are.
"""

import os
from collections.abc import Callable, Mapping, Sequence

from runtime.errors import named
from runtime.image.errors import concerning
from runtime.image.media import OCI_INDEX, Descriptor, Index, Json, parse_descriptor, parse_document, to_bytes

Change = Callable[[list[Json]], list[Json]]

REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT_VERSION = {"imageLayoutVersion": "1.0.0"}
EMPTY_INDEX: Json = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


def write_file(path: str, data: bytes) -> None:
    """Replace `path` at once and for good; whoever reads sees the old content or the new. One writer at a time."""
    draft = f"{path}.new"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    with named(draft), open(fd, "wb", buffering=0) as file:
        file.write(data)
        os.fsync(fd)
    os.rename(draft, path)


def prepare(directory: str) -> None:
    """Make an empty layout of a directory, if it is none."""
    if not os.path.exists(f"{directory}/index.json"):
        write_file(f"{directory}/index.json", to_bytes(EMPTY_INDEX))
    if not os.path.exists(f"{directory}/oci-layout"):
        write_file(f"{directory}/oci-layout", to_bytes(LAYOUT_VERSION))


def read_index(directory: str) -> Index:
    """Raises Corrupt, OSError."""
    path = f"{directory}/index.json"
    with open(path, "rb") as file:
        data = file.read()
    with concerning(path):
        index = parse_document(data, OCI_INDEX)
    assert isinstance(index, Index)
    return index


def write_entries(directory: str, index: Index, entries: Sequence[Json]) -> None:
    """Replace the entries of index.json."""
    write_file(f"{directory}/index.json", to_bytes({**index.raw, "manifests": list(entries)}))


def name_of(entry: Json) -> str:
    """The name of an entry, or nothing."""
    name = (entry.get("annotations") or {}).get(REF_NAME, "")
    return name if isinstance(name, str) else ""


def with_name(descriptor: Descriptor, name: str, annotations: Mapping[str, str]) -> Json:
    """An entry for an image."""
    notes = {**descriptor.annotations, **annotations}
    notes.pop(REF_NAME, None)
    if name:
        notes[REF_NAME] = name
    entry = {key: value for key, value in descriptor.raw.items() if key != "annotations"}
    return {**entry, "annotations": notes} if notes else entry


def add_entry(entries: Sequence[Json], new: Json) -> list[Json]:
    """`entries` with `new`, which takes its name from whoever has it."""
    kept = drop_name(entries, name_of(new)) if name_of(new) else list(entries)
    others = [entry for entry in kept if entry.get("digest") != new["digest"]]
    same = [entry for entry in kept if entry.get("digest") == new["digest"] and name_of(entry)]
    return [*others, *same] + ([new] if name_of(new) or not same else [])


def drop_name(entries: Sequence[Json], name: str) -> list[Json]:
    """`entries` without `name`; an image that had no other keeps an entry that has none."""
    kept = [entry for entry in entries if name_of(entry) != name]
    there = {entry.get("digest") for entry in kept}
    lost = [entry for entry in entries if name_of(entry) == name and entry.get("digest") not in there]
    return [*kept, *(with_name(parse_descriptor(entry), "", {}) for entry in lost)]
