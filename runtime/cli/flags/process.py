"""The options that say what a container's command is, and how it is treated when it ends."""

import os
from collections.abc import Iterable
from typing import Any

from runtime.cli.options import Option, Parsed
from runtime.errors import Refusal, UsageError
from runtime.names import RULE, is_name

COMMAND = (
    Option("env", "set an environment variable; KEY alone takes it from here", "e", "KEY[=VALUE]"),
    Option("env-file", "set those that a file has, one a line", "", "FILE"),
    Option("interactive", "pass standard input on to the command", "i"),
    Option("tty", "give the command a terminal", "t"),
    Option("user", "run the command as this user and group", "u", "NAME|UID[:GROUP|GID]"),
    Option("workdir", "working directory of the command", "w", "DIR"),
)
"""Those that `exec` has, too."""
DETACH_KEYS = Option("detach-keys", "keys that leave it to itself (default: ctrl-p,ctrl-q)", "", "KEYS")
RESTART = Option("restart", "no (the default), on-failure[:COUNT], always or unless-stopped", "", "POLICY")
SIG_PROXY = Option("sig-proxy", "pass signals on to the command (the default); =false: don't")
OPTIONS = (
    Option("annotation", "note something about the container, apart from labels", "", "KEY=VALUE"),
    Option("cidfile", "write the container's id to this file, which must not exist", "", "FILE"),
    DETACH_KEYS,
    Option("domainname", "NIS domain of the machine inside", "", "NAME"),
    Option("entrypoint", "the program to run instead of the image's; its usual arguments go, too", "", "PROGRAM"),
    *COMMAND,
    Option("group-add", "one more group of the command", "", "NAME|GID"),
    Option("hostname", "name of the machine inside", "h", "NAME"),
    Option("init", "accepted for Docker's sake: a first process that reaps and passes signals on is there in any case"),
    Option("label", "note something about the container", "l", "KEY[=VALUE]"),
    Option("label-file", "note what a file has, one a line", "", "FILE"),
    Option("log-driver", "json-file (the default) or none", "", "NAME"),
    Option("log-opt", "max-size=SIZE: the most a file of the log has; max-file=N: how many are kept", "", "KEY=VALUE"),
    Option("name", "name of the container", "", "NAME"),
    Option("oom-score-adj", "how soon it is ended when the machine is out of memory, -1000 to 1000", "", "N"),
    Option("pidfile", "write the pid of the container's first process to this file", "", "FILE"),
    RESTART,
    Option("rm", "remove the container when the command ends"),
    SIG_PROXY,
    Option("stop-signal", "what `stop` sends first (default: TERM)", "", "SIGNAL"),
    Option("stop-timeout", "seconds that `stop` waits before it kills; -1: for ever (default: 10)", "", "SECONDS"),
    Option("umask", "mode bits that new files of the command don't have (default: 0022)", "", "MODE"),
    Option("ulimit", "limit of the command's processes", "", "NAME=SOFT[:HARD]"),
)
_MOST_HOSTNAME = 64


def read(options: Parsed) -> dict[str, Any]:
    """Fields of a Config. Raises UsageError, which names the option."""
    if options.one("stop-signal"):
        from runtime.container.kill import parse_signal

        parse_signal(options.one("stop-signal"))
    return {
        "name": word("name", options.one("name")),
        "hostname": hostname("hostname", options.one("hostname")),
        "domainname": hostname("domainname", options.one("domainname")),
        "env": read_environment(options),
        "user": options.one("user"),
        "groups": options.many("group-add"),
        "interactive": options.on("interactive"),
        "tty": options.on("tty"),
        "auto_remove": options.on("rm"),
        "labels": read_labels([*_from_files("label-file", options), *options.many("label")]),
        "restart": _restart(options),
        "stop_signal": options.one("stop-signal"),
        "stop_timeout_s": number("stop-timeout", options.one("stop-timeout", "10"), -1),
        "log": _log(options),
        "ulimits": _ulimits(options.many("ulimit")),
        "annotations": read_labels(options.many("annotation")),
        "pidfile": os.path.abspath(options.one("pidfile")) if options.one("pidfile") else "",
        "umask": _umask(options.one("umask", "0022")),
        "oom_score_adj": _oom_score_adj(options.one("oom-score-adj")),
    }


def _restart(options: Parsed) -> str:
    policy = options.one("restart", "no")
    if policy != "no":
        from runtime.container import restart

        if restart.parse(policy)[0] != "no" and options.on("rm"):
            raise UsageError("conflicting options: --restart and --rm")
    return policy


def _ulimits(texts: list[str]) -> dict[str, list[int]]:
    if not texts:
        return {}
    from runtime.container import rlimits

    return dict(rlimits.parse(text) for text in texts)


def read_environment(options: Parsed) -> list[str]:
    """What --env-file and --env say. Raises UsageError; Refusal: a file can't be read."""
    return [*_from_files("env-file", options), *environment(options.many("env"))]


def environment(texts: list[str]) -> list[str]:
    """K=V; of K alone, the value it has here, or nothing. Raises UsageError."""
    found = []
    for text in texts:
        key, equals, _ = text.partition("=")
        if not key:
            raise UsageError(f"invalid environment variable {text!r}: it has no name")
        if equals:
            found.append(text)
        elif key in os.environ:
            found.append(f"{key}={os.environ[key]}")
    return found


def word(option: str, text: str) -> str:
    """A name. Raises UsageError."""
    if text and not is_name(text):
        raise UsageError(f"invalid --{option} {text!r}: {RULE}")
    return text


def hostname(option: str, text: str) -> str:
    """A name of machines. Raises UsageError."""
    if len(text) > _MOST_HOSTNAME:
        raise UsageError(f"invalid --{option} {text!r}: it has more than {_MOST_HOSTNAME} letters")
    return word(option, text)


def number(option: str, text: str, least: int, most: int = 1 << 31) -> int:
    """Raises UsageError."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise UsageError(f"invalid --{option} {text!r}: it is a number, {least} or more")
    return value


def size(option: str, text: str) -> int:
    """A number of bytes, as in 512m. Raises UsageError."""
    from runtime.sizes import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"invalid --{option}: {error}") from None


def _oom_score_adj(text: str) -> int | None:
    return number("oom-score-adj", text, -1000, 1000) if text else None


def _umask(text: str) -> int:
    if not text or len(text) > len("0777") or not set(text) <= set("01234567") or int(text, 8) > 0o777:
        raise UsageError(f"invalid --umask {text!r}: it is an octal number up to 0777")
    return int(text, 8)


def _log(options: Parsed) -> dict[str, Any]:
    driver = options.one("log-driver", "json-file")
    if driver not in ("json-file", "none"):
        raise UsageError(f"unknown --log-driver {driver!r}: there are json-file and none")
    log: dict[str, Any] = {"driver": driver}
    for text in options.many("log-opt"):
        key, _, value = text.partition("=")
        if key == "max-size":
            log["max_bytes"] = size("log-opt max-size", value)
        elif key == "max-file":
            log["max_files"] = number("log-opt max-file", value, 1)
        else:
            raise UsageError(f"unknown --log-opt {text!r}: there are max-size and max-file")
    return log


def _from_files(option: str, options: Parsed) -> list[str]:
    """The settings of files that have one a line; what # begins is none."""
    found = []
    for path in options.many(option):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                lines = [line.strip() for line in file]
        except OSError as error:
            raise Refusal(f"--{option} {path}: {error.strerror}") from None
        settings = [line for line in lines if line and not line.startswith("#")]
        found += environment(settings) if option == "env-file" else settings
    return found


def read_labels(texts: Iterable[str]) -> dict[str, str]:
    """Of KEY[=VALUE]s. Raises UsageError."""
    found = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not key:
            raise UsageError(f"invalid label {text!r}: it has no name")
        found[key] = value
    return found


def read_keys(options: Parsed) -> bytes:
    """What --detach-keys sends. Raises UsageError."""
    from runtime.container.caller import parse_keys

    return parse_keys(options.one(DETACH_KEYS.name, "ctrl-p,ctrl-q"))
