"""The verbs that run a container's command: `run`, `create` and `start`."""

import gc
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from runtime.cli.flags import process, tables
from runtime.cli.options import Option, Parsed, verb
from runtime.container import launch, mask, trace
from runtime.container.caller import Wish
from runtime.container.config import Config, Maps, Volume
from runtime.container.events import emit
from runtime.container.record import RUNNING, Container
from runtime.container.store import Store
from runtime.container.volumes import parse_layers
from runtime.errors import Refusal, UsageError, one_line
from runtime.names import SHORT_ID
from runtime.network import programs
from runtime.places import Places
from runtime.rights import refuse_root_of_a_namespace
from runtime.trees import copy_attributes

_ROOT = (
    Option("host", "use this machine's own root filesystem, which stays as it is"),
    tables.PLATFORM,
    Option("pull", "fetch the image: always, missing (the default) or never", "", "WHEN"),
    Option("quiet", "don't tell of the pull", "q"),
    Option("rootfs", "use these directories, the uppermost first, which stay as they are", "", "DIR[:DIR...]"),
)
_CREATE = (
    *_ROOT,
    *process.OPTIONS,
    *tables.MOUNTS,
    *tables.NAMESPACES,
    *tables.HEALTH,
    *tables.NETWORK,
    *tables.LIMITS,
    *tables.SECURITY,
)
_RUN = (Option("detach", "leave the container to itself, and print its id", "d"), *_CREATE)
_START = (
    Option("attach", "show the command's output, pass signals on, and end with its status", "a"),
    process.DETACH_KEYS,
    Option("interactive", "the same, and pass standard input on", "i"),
)
_NO_NFT = (
    "pyunion: nft is not installed (apt-get install nftables): containers don't reach beyond this machine, "
    "and networks aren't kept apart; or take --network=host"
)
_FROM = "IMAGE|--rootfs DIR[:DIR...]|--host"


@verb(
    "run",
    f"{_FROM} [COMMAND] [ARG...]",
    "Run a command in a new container, on an image or on a union of directories as its root.",
    _RUN,
    anywhere=False,
)
def run(options: Parsed, places: Places) -> int:
    """`pyunion run`: the command's exit status. Raises Refusal."""
    gc.disable()  # until the container runs: what is imported on the way is no garbage
    keys = process.read_keys(options)
    layers = _layers(options)
    others = _others(options, places)
    store, container, lock = _reserve(places)
    with launch.Launch(store, container, lock, others) as starting:
        trace.mark("monitor forked")
        config = _make(options, store, container, lock, layers)
        trace.mark("container made")
        if not options.on("detach"):
            return starting.run(config, _foreground(options, config, keys))
        status = starting.run(config, launch.BACKGROUND)
    print(container.id)
    return status


@verb(
    "create",
    f"{_FROM} [COMMAND] [ARG...]",
    "Make a container as run does, for start to run its command.",
    _CREATE,
    anywhere=False,
)
def create(options: Parsed, places: Places) -> int:
    """`pyunion create`. Raises Refusal."""
    layers = _layers(options)
    store, container, lock = _reserve(places)
    config = _make(options, store, container, lock, layers)
    container.write_config(config)
    container.write_state(status="created")
    container.release()
    os.close(lock)
    print(container.id)
    return 0


@verb(
    "start",
    "CONTAINER [CONTAINER...]",
    "Run the commands of stopped containers again, on the root filesystems as they left them.",
    _START,
    least=1,
)
def start(options: Parsed, places: Places) -> int:
    """`pyunion start`: the command's exit status, or 1 if one of several couldn't be started. Raises Refusal."""
    store = open_store(places)
    if options.on("attach") or options.on("interactive"):
        if len(options.words) > 1:
            raise UsageError("only one container can be attached to")
        return _start_attached(store, options)
    return each("start", options.words, lambda name: start_one(store, name))


def _start_attached(store: Store, options: Parsed) -> int:
    container = store.find(options.words[0])
    lock = store.take(container)
    config = container.config()
    stdin = options.on("interactive") and config.interactive
    wish = Wish(stdin=stdin, tty=config.tty, keys=process.read_keys(options))
    return launch.run(store, container, config, lock, wish)


def start_one(store: Store, name: str) -> None:
    """Start a container in the background; one that runs is left so. Raises Refusal."""
    container = store.find(name)
    if container.state()["status"] not in RUNNING:
        lock = store.take(container)
        launch.run(store, container, container.config(), lock, launch.BACKGROUND)


def each(verb: str, names: list[str], do: Callable[[str], object]) -> int:
    """Do something to each container, and print its name: 1 if it could not be done to one of them.

    `do` says False where there was nothing to do.
    """
    status = 0
    for name in names:
        try:
            if do(name) is not False:
                print(name, flush=True)
        except Refusal as error:
            print(f"pyunion {verb}: {one_line(str(error))}", file=sys.stderr)
            status = 1
    return status


def open_store(places: Places) -> Store:
    """The store, with what crashes left cleaned up."""
    store = Store(places)
    store.sweep()
    return store


def _reserve(places: Places) -> tuple[Store, Container, int]:
    refuse_root_of_a_namespace()  # before it is refused what it may not see
    store = open_store(places)
    store.prepare()
    return store, *store.reserve()


def _make(options: Parsed, store: Store, container: Container, lock: int, layers: list[str]) -> Config:
    """Make the container that is asked for, on an image if there are no `layers`: what it is."""
    cidfile = options.one("cidfile")
    if cidfile and os.path.lexists(cidfile):
        raise Refusal(f"--cidfile {cidfile}: it exists already")
    wanted = _config(options, store)
    if layers:
        wanted = wanted._replace(health=_health(wanted.health, {}))
        config = _create(store, container, wanted, layers, root=layers[0])
    else:
        config = _of_image(options, store, container, lock, wanted)
    if cidfile:
        with open(cidfile, "x") as file:
            file.write(container.id)
    emit(container, config, "create")
    return config


def _of_image(options: Parsed, store: Store, container: Container, lock: int, wanted: Config) -> Config:
    from runtime.cli.run_image import prepare  # costs too much for those who need no image

    with prepare(options, store.places) as image:
        wanted = wanted._replace(
            image=image.image,
            image_id=image.image_id,
            args=image.args,
            env=[*image.env, *wanted.env],
            user=wanted.user or image.user,
            workdir=options.one("workdir") or _absolute(image.workdir),
            stop_signal=wanted.stop_signal or image.stop_signal,
            labels={**image.labels, **wanted.labels},
            image_volumes=image.volumes,
            volumes=[*wanted.volumes, *_of_their_own(image.volumes, wanted)],
            ports=image.ports,
            health=_health(wanted.health, image.health),
        )
        config = _create(store, container, wanted, image.layers, root=image.root)
        container.write_config(config)  # from here on the store knows that its layers are in use
    if os.geteuid() == 0 and any(volume.name for volume in config.volumes):  # nobody else may look in from outside
        from runtime.cli.filling import fill

        fill(container, config, lock)
    return config


def _of_their_own(paths: list[str], wanted: Config) -> list[Volume]:
    """Volumes without a name, for those paths of an image where nothing else is to be mounted.

    Only root's are filled from the image, so an ordinary user's containers keep those paths in themselves.
    """
    if os.geteuid() != 0:
        return []
    taken = {"/", *(volume.target for volume in wanted.volumes), *(tmpfs.target for tmpfs in wanted.tmpfs)}
    return [Volume("", path, False) for path in paths if path not in taken]


def _health(asked: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    if not asked:
        return image
    from runtime.cli.flags import health

    return health.merged(asked, image)


def _absolute(workdir: str) -> str:
    return workdir if workdir.startswith("/") else f"/{workdir}"


def _create(store: Store, container: Container, wanted: Config, layers: list[str], root: str) -> Config:
    """Make the container: what it is. Its root directory is as that of the layer `root`, if there is one."""
    name = store.create(container, wanted.name)
    nested = mask.make(container.mask, layers, store.places)
    if root and os.geteuid() == 0:  # another user can give nothing away
        copy_attributes(root, container.upper)
    return wanted._replace(
        id=container.id,
        name=name,
        created_s=time.time(),
        layers=[container.mask, *layers] if nested else layers,
        nested=nested,
        hostname=wanted.hostname or _hostname(wanted, container),
        volumes=_volumes(wanted, container),
        maps=wanted.maps or _maps(wanted, store, container),
    )


def _volumes(wanted: Config, container: Container) -> list[Volume]:
    if not wanted.volumes:
        return []
    from runtime.container.named_volumes import NamedVolumes

    volumes = NamedVolumes(container.places)
    placed = [volumes.placed(volume, container.id) for volume in wanted.volumes]
    return [_of_an_image(volume, container.places) if volume.image else volume for volume in placed]


def _of_an_image(volume: Volume, places: Places) -> Volume:
    from runtime.cli.run_image import with_layers

    return with_layers(volume, places)


def _maps(wanted: Config, store: Store, container: Container) -> Maps | None:
    if "user" not in wanted.namespaces or os.geteuid() != 0:
        return None
    from runtime.container import id_ranges

    return id_ranges.reserve(store, container)


def _hostname(wanted: Config, container: Container) -> str:
    return os.uname().nodename if wanted.namespaces.get("uts") == "host" else container.id[:SHORT_ID]


def _layers(options: Parsed) -> list[str]:
    """The layers that the options name; none: it is on an image."""
    rootfs = options.many("rootfs")
    if not rootfs and not options.on("host"):
        if not options.words:
            raise UsageError(f"what is the root filesystem? give {_FROM.replace('|', ', ')}")
        return []
    if len(rootfs) + options.on("host") != 1:
        raise UsageError("what is the root filesystem? --rootfs and --host are two")
    layers = parse_layers(rootfs[0]) if rootfs else ["/"]
    if not options.words:
        raise UsageError("no command given")
    for layer in layers:
        if not os.path.isdir(layer):
            reason = "not a directory" if os.path.exists(layer) else "no such directory"
            raise Refusal(f"root filesystem: {layer}: {reason}")
    return layers


def _config(options: Parsed, store: Store) -> Config:
    """What the options say; what the container's making adds is left empty."""
    workdir = options.one("workdir", "/")
    if not workdir.startswith("/"):
        raise UsageError(f"working directory {workdir!r}: it must be absolute")
    mode, networks = _network(options, store)
    fields = {"volumes": [], "tmpfs": [], **process.read(options)}
    if mode != "none" or _asked(options, tables.NAMESPACES):
        from runtime.cli.flags import namespaces

        fields |= namespaces.read(options, store, mode)
    if _asked(options, tables.MOUNTS):
        from runtime.cli.flags import mounts

        fields |= mounts.read(options, store)
    if _asked(options, tables.LIMITS) or options.many("device"):
        from runtime.cli.flags import limits

        fields["limits"] = limits.read(options)
    if _asked(options, tables.HEALTH):
        from runtime.cli.flags import health

        fields["health"] = health.read(options)
    if _asked(options, tables.SECURITY):
        from runtime.cli.flags import security

        fields["security"] = security.read(options)
    entry = options.one("entrypoint")
    return Config(
        id="",
        created_s=0.0,
        image="host" if options.on("host") else options.one("rootfs"),
        layers=[],
        nested=False,
        args=[*([entry] if entry else []), *options.words],
        workdir=workdir,
        network=mode,
        networks=networks,
        **fields,
    )


def _others(options: Parsed, places: Places) -> list[str]:
    """Containers in whose user namespace this one is to be, which has to be known first."""
    if os.geteuid() == 0 or not _asked(options, (*tables.NAMESPACES, *tables.NETWORK)):
        return []
    from runtime.cli.flags import namespaces

    return namespaces.others(options, Store(places))


def _asked(options: Parsed, table: tuple[Option, ...]) -> bool:
    return any(options.many(option.name) for option in table)


def _network(options: Parsed, store: Store) -> tuple[str, dict[str, Any]]:
    """Network mode, and what there is to say besides."""
    given = [option.name for option in tables.NETWORK if options.many(option.name)]
    if given in ([], ["network"]) and options.many("network") in ([], ["bridge"], ["host"], ["none"]):
        mode, networks = options.one("network", "bridge" if os.geteuid() == 0 else "host"), {}
    else:
        from runtime.cli.flags import network

        mode, networks = network.mode(options, store), network.read(options)
    shared = mode in ("host", "none") or mode.startswith("container:")
    if not shared and os.geteuid() == 0 and not programs.find("nft"):
        print(_NO_NFT, file=sys.stderr)
    return mode, networks


def _foreground(options: Parsed, config: Config, keys: bytes) -> Wish:
    proxied = options.on(process.SIG_PROXY.name, default=True) or config.tty
    return launch.foreground(config)._replace(keys=keys, signals=proxied)
