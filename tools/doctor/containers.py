"""Checks of what containers need: namespaces, ids, control groups, filters, networks."""

import os
import pwd
from collections.abc import Iterator

from runtime.container import capabilities, subids
from runtime.container.cgroups import hierarchies
from runtime.network import dropping, programs
from runtime.rights import WAY_OUT, is_root_of_a_namespace
from tools.doctor.finding import Finding, less, missing, ok
from unionfs.linux import capset, libseccomp, process

_SECCOMP = "/proc/sys/kernel/seccomp/actions_avail"
_LIMITS = {"memory", "pids", "cpu"}
_NEEDED = ("SYS_ADMIN", "MKNOD", "NET_ADMIN", *capabilities.names(capabilities.DEFAULT))
_SWITCHES = {
    "/proc/sys/user/max_user_namespaces": ("0", "sysctl user.max_user_namespaces=15000"),
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "sysctl kernel.unprivileged_userns_clone=1"),
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile that allows userns",
    ),
}
"""Files that may forbid user namespaces, by what they say then, and the way out."""


def check() -> Iterator[Finding]:
    """All of them."""
    if is_root_of_a_namespace():
        yield missing("root", "of a user namespace: it can mount, but not make containers and unpack images", WAY_OUT)
    elif os.geteuid() == 0:
        yield _capabilities()
    yield _user_namespaces()
    yield from _ids()
    yield _cgroups()
    yield _seccomp()
    yield from _network()


def _capabilities() -> Finding:
    """Root of another engine's container lacks some."""
    lacking = capabilities.mask(_NEEDED) & ~capset.capget().effective
    if lacking:
        names = ", ".join(f"CAP_{name}" for name in capabilities.names(lacking))
        remedy = "have them added (--cap-add); all are there in a container that is --privileged"
        return missing("capabilities", f"{names}: no containers, and no images that have devices", remedy)
    return ok("capabilities", "all that are needed")


def _user_namespaces() -> Finding:
    error = _try_user_namespace()
    if error == 0:
        return ok("user namespaces", "can be made")
    remedies = [remedy for path, (bad, remedy) in _SWITCHES.items() if _read(path) == bad]
    text = f"can't be made ({os.strerror(error)})"
    remedy = "; ".join(remedies) or "a kernel with CONFIG_USER_NS; in a container, a filter that allows unshare"
    if os.geteuid() == 0:
        return less("user namespaces", f"{text}: containers share root's ids", remedy)
    return missing("user namespaces", f"{text}: no containers for ordinary users", remedy)


def _try_user_namespace() -> int:
    """The errno with which making one fails, in a process of its own; 0: it doesn't."""
    pid = os.fork()
    if pid == 0:
        try:
            process.unshare(process.CLONE_NEWUSER)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _ids() -> Iterator[Finding]:
    """What an ordinary user's containers take their ids from; root needs none of it."""
    if os.geteuid() == 0:
        return
    name = _user_name()
    for program in ("newuidmap", "newgidmap"):
        path = programs.find(program)
        if not path:
            yield less(program, "not installed: containers have a single id", "install it: apt-get install uidmap")
        else:
            yield ok(program, path)
    for file in subids.FILES:
        count = sum(one.size for one in subids.ranges(file) if one.owner in (name, str(os.geteuid())))
        if count:
            yield ok(file, f"{count} ids for {name}")
        else:
            remedy = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
            yield less(file, f"no ids for {name}: containers have a single one", remedy)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _cgroups() -> Finding:
    found = hierarchies.find()
    if not found:
        if os.geteuid() == 0:
            return less("control groups", "none is writable: no limits, no stats, no pause", "mount cgroup2, writable")
        remedy = "have one delegated: systemd-run --user --scope -p Delegate=yes pyunion ..."
        return less("control groups", "none is ours: no limits, no stats, no pause", remedy)
    versions = " and ".join(str(version) for version in sorted({hierarchy.version for hierarchy in found}))
    controllers = frozenset[str]().union(*(hierarchy.controllers for hierarchy in found))
    fact = f"version {versions}: {', '.join(sorted(controllers)) or 'no controllers'}"
    if lacking := sorted(_LIMITS - controllers):
        remedy = "have the controllers handed down to our group (cgroup.subtree_control), or enabled at boot"
        return less("control groups", f"{fact}; no limits of {', '.join(lacking)}", remedy)
    return ok("control groups", fact)


def _seccomp() -> Finding:
    actions = _read(_SECCOMP).split()
    if "errno" not in actions:
        remedy = "a kernel with CONFIG_SECCOMP_FILTER"
        return less("seccomp", "no filters of system calls: run containers with seccomp=unconfined", remedy)
    if not libseccomp.is_installed():
        return less("seccomp", "libseccomp, which makes filters, is not installed", "apt-get install libseccomp2")
    return ok("seccomp", "filters can be made and loaded")


def _network() -> Iterator[Finding]:
    path = programs.find("nft")
    if not path:
        text = "not installed: containers on networks of ours reach this machine alone"
        yield less("nft", text, "install it: apt-get install nftables")
        return
    yield ok("nft", path)
    for chain, remedy in dropping.chains():
        text = f"{chain} drops it unless told otherwise: containers on networks of ours reach this machine alone"
        yield less("forwarded packets", text, remedy)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
