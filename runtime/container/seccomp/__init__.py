"""Filters of system calls: a profile becomes a program for the kernel once, and is kept for the next container.

libseccomp compiles: it knows the numbers of all architectures, and of programs of 32 bits on those of 64. What it
made lies in a file that is named for all it was made from, so that a container's start reads that file and no more.
"""

import os
from typing import NamedTuple

from runtime.drafts import beside
from runtime.errors import Refusal, describe

_DEFAULT_PROFILE = os.path.join(os.path.dirname(__file__), "default.json")


class Filter(NamedTuple):
    """What unionfs.linux.seccomp.load() takes."""

    program: bytes
    flags: int


def default_profile() -> str:
    """The text of the profile for which nothing else is said."""
    with open(_DEFAULT_PROFILE, encoding="utf-8") as file:
        return file.read()


def filter_for(profile: str, capabilities: int, directory: str) -> Filter:
    """The filter of a profile's text ("" is the default one) for a container with these capabilities.

    `directory` keeps what was compiled; nobody else may be able to write there. Raises Refusal.
    """
    path = f"{directory}/{_key(profile, capabilities)}"
    return _read(path) or _keep(path, *_compile(profile or default_profile(), capabilities))


def _read(path: str) -> Filter | None:
    """What was kept, unless the library that made it has been replaced since."""
    try:
        with open(path, "rb") as file:
            head, _, program = file.read().partition(b"\n")
        flags, modified_ns, library = head.split(b" ", 2)
        return Filter(program, int(flags)) if os.stat(library).st_mtime_ns == int(modified_ns) else None
    except FileNotFoundError:
        return None


def _key(profile: str, capabilities: int) -> str:
    """Everything that decides what comes out. The default profile is part of the program, and known by its file."""
    machine = os.uname()
    if profile:
        import hashlib  # 4 ms, which containers with the default profile don't pay

        name = hashlib.sha256(profile.encode()).hexdigest()
    else:
        status = os.stat(_DEFAULT_PROFILE)
        name = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    return f"{machine.machine}-{machine.release}-{capabilities:x}-{name}"


def _compile(profile: str, capabilities: int) -> tuple[Filter, str]:
    """The filter, and the path of the library that made it."""
    from runtime.container.capabilities import names
    from runtime.container.seccomp.profile import Machine, choose
    from unionfs.linux import libseccomp

    machine = os.uname()
    held = frozenset(f"CAP_{name}" for name in names(capabilities))
    chosen = choose(profile, Machine(machine.machine, machine.release, held))
    try:
        program = libseccomp.compile_filter(chosen.default, chosen.architectures, chosen.rules)
    except FileNotFoundError as error:
        raise Refusal(
            f"{error.filename} is not installed, which makes the filter of system calls "
            "(--security-opt seccomp=unconfined runs without one)"
        ) from None
    except OSError as error:
        raise Refusal(f"seccomp profile: {describe(error)}") from None
    return Filter(program, chosen.flags), libseccomp.path()


def _keep(path: str, compiled: Filter, library: str) -> Filter:
    """Put the file in its place at once: who reads it sees all or nothing."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    draft = beside(path)
    with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(f"{compiled.flags} {os.stat(library).st_mtime_ns} {library}\n".encode() + compiled.program)
    os.rename(draft, path)
    return compiled
