"""The verbs that remove what nothing uses, of several kinds: `container prune`, `builder prune`, `system prune`."""

import os
from contextlib import suppress

from runtime.cli.filters import PRUNE_FILTER, read_prune_filters
from runtime.cli.lifecycle import remove
from runtime.cli.listing import written
from runtime.cli.networks import network
from runtime.cli.options import FORCE, Option, Parsed, confirm, verb
from runtime.cli.removal import prune_cache, prune_images
from runtime.cli.run import open_store
from runtime.cli.volumes import volume
from runtime.container.describe import status_of
from runtime.errors import Refusal
from runtime.places import Places
from runtime.sizes import size_text

_SYSTEM = (
    Option("all", "images that no container uses, too", "a"),
    FORCE,
    PRUNE_FILTER,
    Option("volumes", "volumes without a name, too"),
)
_ALL = Option("all", "accepted for Docker's sake", "a")
_STOPPED = ("created", "exited")


@verb("container prune", "", "Remove all containers that don't run.", (FORCE, PRUNE_FILTER), most=0)
def prune_containers(options: Parsed, places: Places) -> int:
    """`pyunion container prune`. Raises Refusal."""
    confirm(options, "remove all containers that don't run, and what they changed")
    print(f"Total reclaimed space: {size_text(_remove_stopped(options, places))}")
    return 0


@verb("builder prune", "", "Forget what builds remember.", (_ALL, FORCE), most=0)
def prune_builder(options: Parsed, places: Places) -> int:
    """`pyunion builder prune`. Raises Refusal."""
    confirm(options, "forget what builds remember")
    print(f"Total reclaimed space: {size_text(prune_cache(places))}")
    return 0


@verb("system prune", "", "Remove containers that don't run, and what no container uses.", _SYSTEM, most=0)
def prune_system(options: Parsed, places: Places) -> int:
    """`pyunion system prune`. Raises Refusal."""
    images = "images that no container uses" if options.on("all") else "images without a name"
    kinds = ["containers that don't run", "networks", *(["volumes"] if options.on("volumes") else []), images]
    confirm(options, f"remove all {', '.join(kinds)} and what builds remember")
    freed = _remove_stopped(options, places)
    words = ["prune", "--force", *(f"--filter={text}" for text in options.many("filter"))]
    if os.geteuid() == 0:  # nobody else has any
        network(words, places)
    if options.on("volumes"):
        volume(words, places)
    print(f"Total reclaimed space: {size_text(freed + prune_images(options, places))}")
    return 0


def _remove_stopped(options: Parsed, places: Places) -> int:
    """Print the ids of those that are removed: the bytes they had written."""
    wanted = read_prune_filters(options.many("filter"))
    store, freed = open_store(places), 0
    for container in store.all():
        with suppress(FileNotFoundError, Refusal):  # removed or started meanwhile
            config = container.config()
            if status_of(container, container.state()) in _STOPPED and wanted(config.labels, config.created_s):
                size = written(container.upper)
                remove(store, container)
                print(container.id)
                freed += size
    return freed
