"""The verb `volume`: volumes with a name."""

from collections.abc import Collection
from functools import partial
from typing import Any

from runtime.cli.filters import PRUNE_FILTER, has_label, has_name, matches, read_filters, read_prune_filters
from runtime.cli.flags.process import read_labels
from runtime.cli.options import FORCE, Group, Option, Parsed, confirm, verb
from runtime.cli.run import each, open_store
from runtime.cli.tables import FORMAT, FORMAT_DESCRIBED, print_described, print_rows
from runtime.container.named_volumes import NamedVolumes
from runtime.container.store import Store
from runtime.errors import Refusal, UsageError
from runtime.places import Places

_QUIET = Option("quiet", "names only", "q")
_FORCE = Option("force", "don't complain if there is none", "f")
_CREATE = (
    Option("driver", "local, which is the only one", "d", "DRIVER"),
    Option("label", "note something about the volume", "", "KEY[=VALUE]"),
    Option("name", "its name", "", "NAME"),
)
_LS = (Option("filter", "dangling=, driver=, label= or name=", "f", "KEY=VALUE"), FORMAT, _QUIET)
_PRUNE = (FORCE, Option("all", "those with a name, too", "a"), PRUNE_FILTER)
_SOME = "VOLUME [VOLUME...]"


@verb("volume create", "[NAME]", "Make a volume, and print its name.", _CREATE, most=1)
def _create(options: Parsed, places: Places) -> int:
    if options.one("driver", "local") != "local":
        raise UsageError(f"unknown --driver {options.one('driver')!r}: there is local")
    store, volumes = _open(places)
    store.prepare()
    name = (options.words or [options.one("name")])[0]
    print(volumes.create(name, read_labels(options.many("label"))))
    return 0


@verb("volume ls", "", "List volumes.", _LS, most=0)
def _list(options: Parsed, places: Places) -> int:
    filters = read_filters(options.many("filter"), ("dangling", "driver", "label", "name"))
    store, volumes = _open(places)
    used = users_of_volumes(store) if filters else {}
    rows = [row for row in map(volumes.describe, volumes.names()) if matches(filters, partial(_is, row, used))]
    if options.on("quiet"):
        print("".join(f"{row['Name']}\n" for row in rows), end="")
    else:
        print_rows(rows, (("DRIVER", "Driver"), ("VOLUME NAME", "Name")), options.one("format"), ("Mountpoint",))
    return 0


def _is(row: dict[str, Any], used: Collection[str], key: str, value: str) -> bool:
    answers: dict[str, bool] = {
        "dangling": (row["Name"] not in used) == (value in ("true", "1")),
        "driver": row["Driver"] == value,
        "label": has_label(row["Labels"], value),
        "name": has_name(row["Name"], value),
    }
    return answers[key]


@verb("volume inspect", _SOME, "Show all about volumes.", (FORMAT_DESCRIBED,), least=1)
def _inspect(options: Parsed, places: Places) -> int:
    _, volumes = _open(places)
    print_described([volumes.describe(name) for name in options.words], options.one("format"))
    return 0


@verb("volume rm", _SOME, "Remove volumes that no container has.", (_FORCE,), least=1)
def _remove(options: Parsed, places: Places) -> int:
    store, volumes = _open(places)
    return each("volume rm", options.words, lambda name: _remove_one(store, volumes, name, options.on("force")))


@verb("volume prune", "", "Remove all volumes without a name that no container has.", _PRUNE, most=0)
def _prune(options: Parsed, places: Places) -> int:
    wanted = read_prune_filters(options.many("filter"))
    confirm(options, f"remove all volumes {'' if options.on('all') else 'without a name '}that no container has")
    store, volumes = _open(places)
    used = users_of_volumes(store)
    for name in volumes.names():
        if name not in used and (options.on("all") or len(name) == 64) and wanted(*volumes.labels_and_birth(name)):
            volumes.remove(name)
            print(name)
    return 0


volume = Group("volume", "Volumes, which outlive containers.", (_create, _list, _inspect, _remove, _prune))


def _open(places: Places) -> tuple[Store, NamedVolumes]:
    return open_store(places), NamedVolumes(places)


def users_of_volumes(store: Store) -> dict[str, str]:
    """Volumes that containers have, and one container of each."""
    found: dict[str, str] = {}
    for container in store.all():
        config = container.config()
        found.update((volume.name, config.name) for volume in config.volumes if volume.name)
    return found


def _remove_one(store: Store, volumes: NamedVolumes, name: str, force: bool) -> bool:
    """Whether there was one, which must be so unless by force."""
    if force and name not in volumes.names():
        return False
    user = users_of_volumes(store).get(name)
    if user is not None:
        raise Refusal(f"volume {name} is in use by container {user}", status=1)
    volumes.remove(name)
    return True
