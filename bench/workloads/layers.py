"""Costs that must not grow with the number of layers or with the size of a directory."""

import os

from bench.stacks import FLAT_DIRECTORIES, FLAT_FILES, HUGE_ENTRIES, flat, huge, huge_name
from bench.workload import Place, Row, workload
from bench.workloads.metadata import find

COUNTS = (1, 16, 64, 128)
FLAT_ROWS = ("walk, cold", "list all directories", "look up 1,000 names", "look up 1,000 absent names")
_LOOKUPS = 1000


def flat_row(what: str, count: int) -> str:
    """The name of a row about so many layers."""
    return f"{what}, {count} layer{'s' if count > 1 else ''}"


def _measure(place: Place, count: int) -> object:
    folders = [f"{place.merged}/d{number:02}" for number in range(FLAT_DIRECTORIES)]
    numbers = place.random.sample(range(FLAT_FILES), _LOOKUPS)
    names = [f"{folders[number % FLAT_DIRECTORIES]}/file{number:05}" for number in numbers]
    with place.timed(flat_row("walk, cold", count), cold=True):
        found = find(place)
    place.forget()
    with place.timed(flat_row("look up 1,000 names", count)):
        assert all(os.access(name, os.F_OK) for name in names)
    with place.timed(flat_row("look up 1,000 absent names", count)):
        assert not any(os.access(f"{name}-not", os.F_OK) for name in names)
    place.forget()
    with place.timed(flat_row("list all directories", count)):
        listed = sum(len(os.listdir(folder)) for folder in folders)
    assert listed == FLAT_FILES
    return sorted(found.splitlines())


def _add(count: int) -> None:
    def layers(place: Place) -> object:
        """A cold walk; lookups, of absent names too; a listing. After each, the kernel has forgotten all."""
        return _measure(place, count)

    layers.__name__ = f"layers-{count}"
    aims = {"walk, cold": 1.2} if count == 64 else {}
    workload(flat(count), *(Row(flat_row(what, count), aims.get(what)) for what in FLAT_ROWS), costly=True)(layers)


for _count in COUNTS:
    _add(_count)


@workload(
    huge,
    Row("look up 100 names of 100,000, first"),
    Row("list 100,000 names, cold"),
    Row("list 100,000 names with attributes"),
    Row("list 100,000 names with attributes again"),
    costly=True,
)
def huge_directory(place: Place) -> object:
    """100 lookups right after mounting; then ls -f, and ls -l twice."""
    folder = place.merged / "huge"
    names = [folder / huge_name(place.random.randrange(HUGE_ENTRIES)) for _ in range(100)]
    with place.timed("look up 100 names of 100,000, first"):
        assert all(os.access(name, os.F_OK) for name in names)
    place.forget()
    with place.timed("list 100,000 names, cold", cold=True):
        listed = os.listdir(folder)
    with place.timed("list 100,000 names with attributes"):
        found = find(place, "huge")
    with place.timed("list 100,000 names with attributes again"):
        assert len(find(place, "huge")) == len(found)
    return sorted(listed)
