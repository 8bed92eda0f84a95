"""Capabilities: their names, and which of them a container's processes can have at most.

The usual set is podman's: Docker's without MKNOD, NET_RAW and AUDIT_WRITE. Of these three hardly a program has need,
and the first two have been the way out of a container (device nodes) and into its neighbours (forged packets).
"""

from collections.abc import Iterable

from runtime.errors import UsageError

# include/uapi/linux/capability.h, in the order of their numbers
_NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
_USUAL = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)


def mask(names: Iterable[str]) -> int:
    """Bit N is capability N."""
    return sum(1 << _NAMES.index(name) for name in set(names))


DEFAULT = mask(_USUAL)
EVERY = (1 << len(_NAMES)) - 1
KILL = mask(["KILL"])


def names(capabilities: int) -> list[str]:
    """The reverse of mask(). Those of a later kernel have no name here."""
    return [name for number, name in enumerate(_NAMES) if capabilities >> number & 1]


def parse_names(option: str, texts: Iterable[str]) -> list[str]:
    """Names as users write them: in any case, with CAP_ or without; or ALL. Raises UsageError, which names it."""
    found = [text.upper().removeprefix("CAP_") for text in texts]
    for text, name in zip(texts, found, strict=True):
        if name != "ALL" and name not in _NAMES:
            raise UsageError(f"--{option} {text}: there is no such capability")
    return found


def bounding(added: list[str], dropped: list[str]) -> int:
    """What is left of the usual set, or of all or nothing where that is asked for. As Docker has it."""
    if "ALL" in added:
        return EVERY & ~mask(name for name in dropped if name != "ALL")
    if "ALL" in dropped:
        return mask(added)
    return DEFAULT & ~mask(dropped) | mask(added)
