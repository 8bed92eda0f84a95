"""The verbs that run a container's command: `run` and `start`."""

import os
import time

from runtime.cli.options import HELP, Option, Parsed, parse, usage
from runtime.container import launch, mask
from runtime.container.config import Config, Tmpfs, Volume
from runtime.container.record import SHORT_ID, Container
from runtime.container.store import Store
from runtime.container.volumes import parse_layers, parse_tmpfs, parse_volume
from runtime.errors import Refusal, UsageError
from runtime.places import Places

_RUN = (
    Option("entrypoint", "the program to run instead of the image's; its usual arguments go, too", "", "PROGRAM"),
    Option("env", "set an environment variable; KEY alone takes it from here", "e", "KEY[=VALUE]"),
    Option("host", "use this machine's own root filesystem, which stays as it is"),
    Option("hostname", "name of the machine inside", "h", "NAME"),
    Option("interactive", "pass standard input on to the command", "i"),
    Option("name", "name of the container", "", "NAME"),
    Option("label", "note something about the container", "l", "KEY[=VALUE]"),
    Option("network", "host (this machine's; the default) or none", "", "NETWORK"),
    Option("platform", "of an image for several", "", "OS/ARCH[/VARIANT]"),
    Option("pull", "fetch the image: always, missing (the default) or never", "", "WHEN"),
    Option("rm", "remove the container when the command ends"),
    Option("rootfs", "use these directories, the uppermost first, which stay as they are", "", "DIR[:DIR...]"),
    Option("tmpfs", "mount an empty filesystem in memory", "", "DIR[:OPTIONS]"),
    Option("tty", "give the command a terminal", "t"),
    Option("user", "run the command as this user and group", "u", "NAME|UID[:GROUP|GID]"),
    Option("volume", "show a file or directory of this machine inside", "v", "SRC:DST[:ro]"),
    Option("workdir", "working directory of the command", "w", "DIR"),
)
_START = (
    Option("attach", "accepted for Docker's sake: the command runs in the foreground in any case", "a"),
    Option("interactive", "the same: standard input is passed on if it was at `run`", "i"),
)
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_MOST_HOSTNAME = 64
_NETWORKS = ("host", "none")


def run(arguments: list[str], places: Places) -> int:
    """`pyunion run`: the command's exit status. Raises Refusal."""
    options = parse(arguments, _RUN)
    if options.on(HELP.name):
        about = "Run a command in a new container, on an image or on a union of directories as its root."
        print(usage("pyunion run [OPTIONS] IMAGE|--rootfs DIR[:DIR...]|--host [COMMAND] [ARG...]", about, _RUN))
        return 0
    if not options.on("host") and not options.many("rootfs"):
        return _run_image(options, places)
    layers = _layers(options)
    wanted = _config(options, options.words)
    _refuse_what_is_no_directory(layers)
    store = _open_store(places)
    store.prepare()
    container, config, lock = _create(store, places, wanted, layers)
    return launch.run(store, container, config, lock, launch.foreground(config))


def _run_image(options: Parsed, places: Places) -> int:
    if not options.words:
        raise UsageError("what is the root filesystem? give an image, --rootfs DIR[:DIR...] or --host")
    from runtime.cli.run_image import prepare  # costs too much for those who need no image

    wanted = _config(options, options.words)
    store = _open_store(places)
    store.prepare()
    with prepare(options, places) as image:
        wanted = wanted._replace(
            image=image.image,
            image_id=image.image_id,
            args=image.args,
            env=[*image.env, *wanted.env],
            user=wanted.user or image.user,
            workdir=options.one("workdir") or _absolute(image.workdir),
            stop_signal=image.stop_signal,
            labels={**image.labels, **wanted.labels},
            directories=image.volumes,
            ports=image.ports,
        )
        container, config, lock = _create(store, places, wanted, image.layers)
        container.write_config(config)  # from here on the store knows that its layers are in use
    return launch.run(store, container, config, lock, launch.foreground(config))


def _absolute(workdir: str) -> str:
    return workdir if workdir.startswith("/") else f"/{workdir}"


def _create(store: Store, places: Places, wanted: Config, layers: list[str]) -> tuple[Container, Config, int]:
    """A new container, what it is, and its lock."""
    container, lock, name = store.create(wanted.name)
    nested = mask.make(container.mask, layers, places)
    config = wanted._replace(
        id=container.id,
        name=name,
        created_s=time.time(),
        layers=[container.mask, *layers] if nested else layers,
        nested=nested,
        hostname=wanted.hostname or container.id[:SHORT_ID],
    )
    return container, config, lock


def start(arguments: list[str], places: Places) -> int:
    """`pyunion start`: the command's exit status. Raises Refusal."""
    options = parse(arguments, _START)
    if options.on(HELP.name):
        about = "Run the command of a stopped container again, on the root filesystem as it left it."
        print(usage("pyunion start [OPTIONS] CONTAINER", about, _START))
        return 0
    if len(options.words) != 1:
        raise UsageError("it takes exactly one container")
    store = _open_store(places)
    container = store.find(options.words[0])
    lock = store.take(container)
    config = container.config()
    return launch.run(store, container, config, lock, launch.foreground(config))


def _open_store(places: Places) -> Store:
    if os.geteuid() != 0:
        raise Refusal("a container needs root: its namespaces and mounts are not to be had otherwise (try sudo)")
    store = Store(places)
    store.sweep()
    return store


def _layers(options: Parsed) -> list[str]:
    rootfs = options.many("rootfs")
    if len(rootfs) + options.on("host") != 1:
        raise UsageError("what is the root filesystem? give an image, --rootfs DIR[:DIR...] or --host")
    return parse_layers(rootfs[0]) if rootfs else ["/"]


def _refuse_what_is_no_directory(layers: list[str]) -> None:
    for layer in layers:
        if not os.path.isdir(layer):
            reason = "not a directory" if os.path.exists(layer) else "no such directory"
            raise Refusal(f"root filesystem: {layer}: {reason}")


def _config(options: Parsed, args: list[str]) -> Config:
    """What the options say; what the container's making adds is left empty."""
    if not args:
        raise UsageError("no command given")
    network = options.one("network", "host")
    if network not in _NETWORKS:
        raise UsageError(f"unknown network {network!r}: there are {' and '.join(_NETWORKS)}")
    workdir = options.one("workdir", "/")
    if not workdir.startswith("/"):
        raise UsageError(f"working directory {workdir!r}: it must be absolute")
    volumes, tmpfs = _mounts(options)
    return Config(
        id="",
        name=_word("name", options.one("name")),
        created_s=0.0,
        image="host" if options.on("host") else options.one("rootfs"),
        layers=[],
        nested=False,
        args=args,
        hostname=_hostname(options.one("hostname")),
        env=[setting for text in options.many("env") if (setting := _setting(text))],
        user=options.one("user"),
        workdir=workdir,
        interactive=options.on("interactive"),
        tty=options.on("tty"),
        auto_remove=options.on("rm"),
        network=network,
        namespaces={"net": network} if network == "host" else {},
        volumes=volumes,
        tmpfs=tmpfs,
        labels=dict(_label(text) for text in options.many("label")),
    )


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise UsageError(f"invalid label {text!r}: it has no name")
    return key, value


def _mounts(options: Parsed) -> tuple[list[Volume], list[Tmpfs]]:
    volumes = [parse_volume(text) for text in options.many("volume")]
    tmpfs = [parse_tmpfs(text) for text in options.many("tmpfs")]
    targets = [volume.target for volume in volumes] + [mount.target for mount in tmpfs]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f"two mounts at {target}")
    return volumes, tmpfs


def _word(option: str, text: str) -> str:
    if text and (not set(text) <= _NAME or text[0] in "_.-"):
        raise UsageError(f"invalid --{option} {text!r}: letters, digits and, after the first, any of '_.-' make one")
    return text


def _hostname(text: str) -> str:
    if len(text) > _MOST_HOSTNAME:
        raise UsageError(f"invalid --hostname {text!r}: it has more than {_MOST_HOSTNAME} letters")
    return _word("hostname", text)


def _setting(text: str) -> str:
    """K=V; of K alone, the value it has here, or nothing."""
    key, equals, _ = text.partition("=")
    if not key:
        raise UsageError(f"invalid environment variable {text!r}: it has no name")
    if equals:
        return text
    return f"{key}={os.environ[key]}" if key in os.environ else ""
