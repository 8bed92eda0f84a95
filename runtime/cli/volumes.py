"""The verb `volume`: volumes with a name."""

import json

from runtime.cli.options import HELP, Option, parse, usage
from runtime.cli.run import each, open_store
from runtime.cli.tables import print_rows
from runtime.container.named_volumes import NamedVolumes
from runtime.container.store import Store
from runtime.errors import Refusal, UsageError
from runtime.places import Places

_LABEL = Option("label", "note something about the volume", "", "KEY[=VALUE]")
_FORMAT = Option("format", "json, or a template", "", "FORMAT")
_QUIET = Option("quiet", "names only", "q")
_FORCE = Option("force", "accepted for Docker's sake", "f")
_TABLES = {
    "create": (_LABEL, Option("name", "its name", "", "NAME")),
    "ls": (_FORMAT, _QUIET),
    "inspect": (_FORMAT._replace(short="f"),),
    "rm": (_FORCE,),
    "prune": (_FORCE, Option("all", "those with a name, too", "a")),
}
_ABOUT = "Make (create), list (ls), show (inspect) and remove (rm, prune) volumes."


def volume(arguments: list[str], places: Places) -> int:
    """`pyunion volume`. Raises Refusal."""
    verb, *rest = arguments or ["--help"]
    if verb not in _TABLES:
        if verb != "--help":
            raise UsageError(f"unknown command: volume {verb}")
        print(usage(f"pyunion volume {'|'.join(_TABLES)} [OPTIONS] [NAME...]", _ABOUT, ()))
        return 0
    options = parse(rest, _TABLES[verb], anywhere=True)
    if options.on(HELP.name):
        print(usage(f"pyunion volume {verb} [OPTIONS] [NAME...]", _ABOUT, _TABLES[verb]))
        return 0
    store = open_store(places)
    store.prepare()
    volumes = NamedVolumes(places)
    if verb == "create":
        name = (options.words or [options.one("name")])[0]
        labels = {text.partition("=")[0]: text.partition("=")[2] for text in options.many("label")}
        print(volumes.create(name, labels))
        return 0
    if verb == "ls":
        rows = [volumes.describe(name) for name in volumes.names()]
        if options.on("quiet"):
            print("".join(f"{row['Name']}\n" for row in rows), end="")
        else:
            print_rows(rows, (("DRIVER", "Driver"), ("VOLUME NAME", "Name")), options.one("format"), ("Mountpoint",))
        return 0
    if verb == "prune":
        return _prune(store, volumes, everything=options.on("all"))
    if not options.words:
        raise UsageError("it takes at least one volume")
    if verb == "inspect":
        return _inspect([volumes.describe(name) for name in options.words], options.one("format"))
    return each("volume rm", options.words, lambda name: _remove(store, volumes, name))


def _inspect(found: list[dict[str, object]], form: str) -> int:
    if form in ("", "json"):
        print(json.dumps(found, indent=None if form else 4))
        return 0
    from runtime.cli.template import Template

    print("".join(f"{Template(form).render(value)}\n" for value in found), end="")
    return 0


def _users(store: Store) -> dict[str, str]:
    """Volumes that containers have, and one container of each."""
    found: dict[str, str] = {}
    for container in store.all():
        config = container.config()
        found.update((volume.name, config.name) for volume in config.volumes if volume.name)
    return found


def _remove(store: Store, volumes: NamedVolumes, name: str) -> None:
    user = _users(store).get(name)
    if user is not None:
        raise Refusal(f"volume {name} is in use by container {user}", status=1)
    volumes.remove(name)


def _prune(store: Store, volumes: NamedVolumes, *, everything: bool) -> int:
    used = _users(store)
    for name in volumes.names():
        if name not in used and (everything or len(name) == 64):
            volumes.remove(name)
            print(name)
    return 0
