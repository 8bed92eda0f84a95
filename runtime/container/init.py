"""The first process of a container: sets up what the command sees, starts it, then reaps, passes signals on, and
ends as the command ends (whereupon the kernel ends everything else in the namespace).

It is a Python interpreter of the host that lives among the container's files, so three rules hold. Everything it
needs is imported before the container's root becomes its own, and import is switched off then. It can't be looked
into from inside (not dumpable: no /proc/1/exe, no ptrace). It has no descriptor of the host once the command starts.
"""

import os
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from runtime.container import confine, console, mapped, namespaces, network, progress, rlimits, rootfs, sysctls, users
from runtime.container.cgroups import shown
from runtime.container.command import Command, run
from runtime.container.config import Config, Maps
from runtime.container.inroot import open_target
from runtime.container.signals import ALL
from runtime.container.trace import kept, mark
from runtime.errors import SIGNALLED, Refusal
from runtime.rights import is_root_of_a_namespace
from unionfs.fuse.kernel import detached_mount
from unionfs.linux import mounts, process
from unionfs.linux.descriptors import close_all_but, point_at_null

if TYPE_CHECKING:
    from runtime.container.cgroups.group import Group
    from runtime.container.image_mounts import Connection

_MOST = 2**31 - 1
_MESSAGE_BYTES = 4096


class Job(NamedTuple):
    """What the monitor hands to its child: the configuration, and descriptors."""

    config: Config
    run_directory: str
    device: int
    """The union's connection to the kernel."""
    mounted: int
    """Pipe on which the driver hears that the union is mounted."""
    progress: int
    go: int
    """Pipe on which the monitor says that all it has to do for the command is done."""
    stdio: tuple[int, int, int]
    """Pipes that the command gets as 0, 1 and 2, unless it gets a terminal; -1 means /dev/null."""
    terminal: int
    """Socket through which the terminal's master goes to whoever serves it, or -1."""
    size: tuple[int, int]
    """Rows and columns of the terminal."""
    namespaces: namespaces.Plan
    group: "Group"
    hosts: bytes
    """The text of /etc/hosts."""
    resolv_conf: bytes
    filters: str
    """Directory of compiled filters of system calls."""
    maps: Maps | None
    """Of the container's user namespace, if that isn't the machine's."""
    doors: int
    """Socket through which descriptors of the namespaces go to the monitor, or -1."""
    user: int
    """The user namespace to enter, where the monitor is outside of it, or -1."""
    born: int
    """Pipe on which the monitor hears who has entered it, or -1."""
    images: "list[Connection]"
    """Connections of those of its volumes that are images."""


def main(job: Job) -> NoReturn:
    """Be pid 1. Precondition: all signals are blocked, and the parent has unshared the pid namespace."""
    try:
        pid = _start(job)
    except Exception as error:
        failure = progress.failure_of(error)
        progress.send_failure(job.progress, *failure)
        os._exit(failure.status)
    os._exit(_wait_for(pid))


def _start(job: Job) -> int:
    """Set everything up and start the command: its pid. Raises Refusal, OSError."""
    config = job.config
    process.die_with_parent(signal.SIGKILL)
    if config.clocks:
        namespaces.set_clocks(config.clocks)
    process.make_undumpable()
    job.group.enter()
    pipes = {job.device, job.mounted, job.progress, job.go, *job.stdio, job.terminal, job.doors, job.user, job.born}
    connections = {fd for image in job.images for fd in image}
    close_all_but({0, 1, 2, *pipes, *connections, *job.namespaces.descriptors(), *kept()} - {-1})
    if not progress.is_heard(job.progress):
        raise Refusal("the monitor process was killed")  # before we asked to be told
    process.set_title("pyunion: init")
    os.umask(0)
    shm, volumes = _leave_the_host(job)
    if job.doors >= 0:
        namespaces.send(job.doors)
    progress.send_unshared(job.progress)
    mark("namespaces made")
    confined = confine.confinement(config.security, job.filters, config.privileged)
    place = os.open(job.run_directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if job.user >= 0:
        _become_root()
    process.join_new_keyring()
    scratch = _make_scratch(job, place)
    root = _mount_union(job, scratch)
    own_groups = config.namespaces.get("cgroup", "private") == "private"
    groups = shown.prepare(job.group, writable=config.privileged) if own_groups else []
    prepared = rootfs.prepare(config, shm, job.maps, groups)
    sysctls.write_usual(prepared.proc, config, job.maps)
    sysctls.write(prepared.proc, config.sysctls)
    terminal = console.open_terminal(prepared.pts, job.size) if config.tty else None
    mark("filesystems made")
    rootfs.attach(root, scratch, prepared, volumes, config, job.maps)
    mark("root filesystem ready")
    user = users.look_up(root, config.user, config.groups)
    if job.maps is not None:
        user = mapped.as_possible(job.maps, user)
    for fd in {*job.stdio} - {-1}:
        os.fchown(fd, user.uid, -1)  # /dev/stdout and the like can be opened by their owner only
    for path in (*config.image_volumes, config.workdir):
        os.close(open_target(root, os.fsencode(path), "directory"))
    if terminal is not None:
        rootfs.attach_console(root, terminal.number)
        terminal.hand_over(job.terminal, user.uid)
    if config.read_only:
        mounts.set_attributes(root, mounts.MOUNT_ATTR_RDONLY)
    switch_import_off()
    rootfs.enter(root)
    slave = terminal.slave if terminal is not None else -1
    close_all_but({0, 1, 2, job.progress, job.go, *job.stdio, slave, *kept()} - {-1})
    if not os.read(job.go, 1):
        raise Refusal("the monitor process was killed")
    os.close(job.go)
    if job.user < 0:
        rlimits.apply(config)
    confine.drop(confined)
    command = Command(config.args, environment(config, user), config.workdir, user, slave, confined, config.umask)
    return _fork_command(job, command)


def _leave_the_host(job: Job) -> tuple[int, list[int]]:
    """Enter the namespaces: a /dev/shm that comes with them, or -1, and the volumes, as detached mounts."""
    config = job.config
    shm = namespaces.join_others(job.namespaces)
    if job.user < 0:
        process.unshare(job.namespaces.new)
        volumes = rootfs.open_volumes(config, job.images)
    else:
        mapping = job.user
        if is_root_of_a_namespace():  # as an ordinary user's monitor is
            mapping = -1  # nor may he have owners mapped
            process.unshare(process.CLONE_NEWNS)
        volumes = rootfs.open_volumes(config, job.images, mapping)
        mapped.enter(job.user, job.namespaces, job.born)
        process.unshare(job.namespaces.new)
    mounts.make_private(b"/")
    if config.namespaces.get("uts", "private") == "private":
        process.sethostname(os.fsencode(config.hostname))
        if config.domainname:
            process.setdomainname(os.fsencode(config.domainname))
    if job.namespaces.new & process.CLONE_NEWNET:
        network.bring_loopback_up()
    return shm, volumes


def _become_root() -> None:
    """Be root inside; what the machine's root was needed for is done."""
    mapped.become_root()
    process.die_with_parent(signal.SIGKILL)  # the parent's end before is noticed when it should let us go
    process.make_undumpable()


def _make_scratch(job: Job, place: int) -> int:
    """A filesystem in memory for files of our own making, at `place`, which only this namespace sees: its root."""
    scratch = mounts.fsmount(b"tmpfs", {b"source": b"pyunion", b"mode": b"755", b"size": b"4m"}, rootfs.HARMLESS)
    mounts.move_mount(scratch, place)
    os.close(place)
    os.mkdir(b"root", dir_fd=scratch)
    os.mkdir(b"empty", 0o755, dir_fd=scratch)
    _write(scratch, b"hostname", os.fsencode(job.config.hostname) + b"\n")
    _write(scratch, b"hosts", job.hosts)
    _write(scratch, b"resolv.conf", job.resolv_conf)
    return scratch


def _mount_union(job: Job, scratch: int) -> int:
    """Mount the union; nothing of it is touched yet, for that waits until the driver serves."""
    root = detached_mount(job.device, source=b"pyunion", attributes=mounts.MOUNT_ATTR_NODEV)
    os.close(job.device)  # whoever holds it while waiting for the driver can't be killed
    place = os.open(b"root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=scratch)
    mounts.move_mount(root, place)
    os.close(place)
    os.write(job.mounted, b"m")
    os.close(job.mounted)
    return root


def _write(directory: int, name: bytes, content: bytes) -> None:
    fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=directory)
    os.write(fd, content)
    os.close(fd)


def switch_import_off() -> None:
    """From here on, a forgotten import fails instead of running a file of the container's."""
    sys.path.clear()
    sys.path_hooks.clear()
    sys.meta_path.clear()
    sys.path_importer_cache.clear()


def environment(config: Config, user: users.User) -> dict[str, str]:
    """What a command of the container gets in its environment."""
    variables = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": config.hostname,
        "HOME": user.home,
    }
    if config.tty:
        variables["TERM"] = "xterm"
    for setting in config.env:
        key, _, value = setting.partition("=")
        variables[key] = value
    return variables


def _fork_command(job: Job, command: Command) -> int:
    """Start the command: its pid. Raises Refusal if it can't be executed."""
    point_at_null(0, 1, 2)  # the container's, as long as nothing of it runs
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        run(command, job.stdio, writing)
    confine.retire()
    os.close(writing)
    failure = os.read(reading, _MESSAGE_BYTES)  # end of file: the exec succeeded, and closed it
    if failure:
        status, _, message = failure.partition(b" ")
        raise Refusal(message.decode(errors="replace").strip(), int(status))
    progress.send_started(job.progress)
    close_all_but((0, 1, 2))
    return pid


def _wait_for(command: int) -> int:
    """Reap whatever ends and pass on whatever signal comes, until the command ends: its exit status."""
    while True:
        received = signal.sigwaitinfo(ALL)
        if received.si_signo != signal.SIGCHLD:
            os.kill(command, received.si_signo)
            continue
        status = _reap(command)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else SIGNALLED - code


def _reap(command: int) -> int | None:
    """Reap all children that have ended; the wait status of the command if it was among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == command:
            return status
        if pid == 0:
            return None
