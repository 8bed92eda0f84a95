"""What a container's processes may not do: capabilities, filters of system calls, labels of security modules.

no_new_privs is off unless asked for, as with crun, podman and Docker: su, sudo and ping of an image work, and what they
can gain is limited by the bounding set. The set of inheritable capabilities is always that of the ambient ones, which
is empty but for --cap-add with an ordinary user. Securebits are left as they are: root inside is root, of few rights.

    confinement()  reads files and may import: before the container's root becomes ours
    drop()         in the process that will fork the command
    apply()        in the process that becomes the command, last
    retire()       in the first process of a container, once its command runs
"""

import os
from contextlib import suppress
from typing import Any, NamedTuple

from runtime.container import capabilities
from runtime.container.seccomp import filter_for
from runtime.container.users import User
from runtime.errors import Refusal
from unionfs.linux import process, seccomp
from unionfs.linux.capset import Caps, capget, capset, keep_through_setuid, raise_ambient

_APPARMOR = ("/sys/module/apparmor/parameters/enabled", "/proc/self/attr/apparmor/exec")
_SELINUX = ("/sys/fs/selinux/enforce", "/proc/self/attr/exec")
_LABEL_PARTS = ("user", "role", "type", "level")
_LABEL = {"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"}


class Label(NamedTuple):
    """What to write where, so that the next exec gets it."""

    file: str
    text: str
    option: str


class Confinement(NamedTuple):
    """All of it, for one command."""

    bounding: int
    ambient: int
    """What an ordinary user has nevertheless."""
    no_new_privileges: bool
    program: bytes
    """Of the filter of system calls; nothing for none."""
    flags: int
    labels: list[Label]


def confinement(security: dict[str, Any], cache: str, privileged: bool, own: int | None = None) -> Confinement:
    """What the configuration's `security` asks for; `cache` is a directory of ours for filters. Raises Refusal.

    `own`: the capabilities that we have when it is applied; None: those that we have now.
    """
    bounding, ambient = _capabilities(security, privileged, capget().permitted if own is None else own)
    program, flags = _filter(security, bounding, cache, privileged)
    no_new_privileges = security.get("no_new_privileges", False)
    return Confinement(bounding, ambient, no_new_privileges, program, flags, _labels(security))


def drop(confined: Confinement) -> None:
    """Give up what no child may ever gain. Precondition: CAP_SETPCAP."""
    process.drop_bounding_set(confined.bounding)


def apply(confined: Confinement, user: User) -> None:
    """Become `user`, confined, as the next exec will have it. Precondition: all capabilities of a host's root."""
    for label in confined.labels:
        _write(label)
    late = confined.no_new_privileges
    if confined.program and not late:
        seccomp.load(confined.program, confined.flags)
    if late:
        process.set_no_new_privileges()
    _become(user, confined)
    if confined.program and late:
        seccomp.load(confined.program, confined.flags)  # so it needn't allow what came before


def retire() -> None:
    """Keep the right to pass on signals, whoever the command runs as, and no other.

    When memory runs out, this process is the last to go: with it all others would.
    """
    with suppress(OSError):  # EACCES: it takes CAP_SYS_RESOURCE
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"-999")
        finally:
            os.close(fd)
    kept = capabilities.KILL & capget().permitted
    capset(Caps(kept, kept, 0))


def _write(label: Label) -> None:
    """For the next exec of this process: Documentation/admin-guide/LSM of the kernel, attr in proc_pid_attr(5)."""
    try:
        fd = os.open(label.file, os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, label.text.encode())  # in one piece; no descriptor of ours outlives the exec
    except OSError as error:  # ENOENT: AppArmor has no such profile; EINVAL: the policy of SELinux has no such type
        raise Refusal(f"{label.option}: the kernel doesn't take it: {error.strerror}") from None


def _become(user: User, confined: Confinement) -> None:
    if user.uid == 0:
        held, ambient = confined.bounding, 0
    else:
        held = ambient = confined.ambient
        keep_through_setuid()
    _set_groups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    capset(Caps(held, held, ambient))
    raise_ambient(ambient)


def _set_groups(groups: list[int]) -> None:
    """In a namespace of one user's id alone it isn't allowed, and he stays in his groups: user_namespaces(7)."""
    try:
        os.setgroups(groups)
    except PermissionError:
        if groups:
            raise


def _capabilities(security: dict[str, Any], privileged: bool, own: int) -> tuple[int, int]:
    """The bounding set, and the ambient one."""
    added, dropped = security.get("cap_add", []), security.get("cap_drop", [])
    wanted = own if privileged else capabilities.bounding(added, dropped)
    asked = capabilities.mask(name for name in added if name != "ALL")
    missing = capabilities.names(asked & ~own)
    if missing:
        raise Refusal(f"--cap-add {missing[0]}: pyunion itself doesn't have this capability here")
    return wanted & own, asked & wanted & own


def _filter(security: dict[str, Any], bounding: int, cache: str, privileged: bool) -> tuple[bytes, int]:
    profile = security.get("seccomp", "unconfined" if privileged else "")
    if profile == "unconfined":
        return b"", 0
    return filter_for(profile, bounding, cache)


def _labels(security: dict[str, Any]) -> list[Label]:
    labels = []
    profile = security.get("apparmor", "unconfined")
    if profile != "unconfined":
        option = f"--security-opt apparmor={profile}"
        _need(_APPARMOR[0], option, "AppArmor")
        labels.append(Label(_APPARMOR[1], f"exec {profile}", option))
    parts = security.get("label", {})
    if parts:
        _need(_SELINUX[0], "--security-opt label", "SELinux")
        text = ":".join((_LABEL | parts)[part] for part in _LABEL_PARTS)
        labels.append(Label(_SELINUX[1], text, f"--security-opt label: {text}"))
    return labels


def _need(file: str, option: str, module: str) -> None:
    try:
        with open(file, encoding="ascii") as state:
            enabled = state.read(1) != "N"  # SELinux has a file only if it is
    except OSError:
        enabled = False
    if not enabled:
        raise Refusal(f"{option}: {module} is not enabled on this machine")
