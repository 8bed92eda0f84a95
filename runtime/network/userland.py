"""The network of an ordinary user's container: pasta or slirp4netns carries its packets through sockets of the user's.

Such a user can have no interfaces and no rules on this machine, so there is no bridge, and containers don't reach one
another but through ports. Both programs are told to make the same: an interface tap0, 10.0.2.100 of 10.0.2.0/24, with
a gateway and a name server that exist in the program alone. Neither leads to this machine's loopback.

Ports are published by our own helper, as where there is no nft: it listens here, and connects inside, to the address
of tap0 and not to 127.0.0.1, lest who comes from outside be taken for the container itself (CVE-2021-20199).

The monitor is in the user's namespace, with all capabilities there. It can't look into the first process, so it has a
descriptor of the network namespace; and since pasta closes those it inherits, a `cat` is put there whose /proc is open.
"""

import os
import signal
from contextlib import suppress

from runtime.errors import Refusal
from runtime.names import SHORT_ID
from runtime.network import helper, members, ports, programs
from runtime.network.files import Files, Resolution, make_hosts, make_resolv_conf, resolution
from runtime.network.members import Endpoint, Member
from runtime.network.networks import Networks
from runtime.network.wanted import Wanted
from runtime.places import Places
from unionfs.linux import process
from unionfs.linux.capset import Caps, capset

PROGRAMS = ("pasta", "slirp4netns")
_ADDRESS, _PREFIX = "10.0.2.100", "24"
_GATEWAY = "10.0.2.2"
_NAMESERVER = "10.0.2.3"
_INTERFACE = "tap0"
_MTU = "65520"


def find(mode: str) -> str:
    """The program for a network mode, which may name it. Raises Refusal: it isn't installed."""
    wanted = (mode,) if mode in PROGRAMS else PROGRAMS
    for name in wanted:
        if path := programs.find(name):
            return path
    raise Refusal(
        f"{' or '.join(wanted)} is needed for a network of an ordinary user's container, and not installed "
        "(packages passt, slirp4netns): install it, or take --network=host or none"
    )


def prepare(hostname: str, mode: str, wanted: Wanted) -> Files:
    """The texts of /etc/hosts and /etc/resolv.conf. Raises Refusal: there is no program."""
    find(mode)
    return files(hostname, wanted)


def files(hostname: str, wanted: Wanted) -> Files:
    """The same, where packets are carried already."""
    host = resolution(wanted)
    servers = wanted.dns or [_NAMESERVER]
    return Files(
        make_hosts(hostname, [_endpoint(hostname, "")], wanted, _GATEWAY),
        make_resolv_conf(Resolution(servers, host.search, host.options)),
    )


def _endpoint(name: str, program: str) -> Endpoint:
    address = f"{_ADDRESS}/{_PREFIX}"
    return Endpoint("", program, _INTERFACE, "", "", [address], [_GATEWAY], [name])


def attach(places: Places, identity: str, mode: str, wanted: Wanted, netns: int) -> None:
    """Have packets carried for the network namespace `netns`, and ports published.

    Raises Refusal: a port is taken; the program can't do it. What was done until then, detach() undoes.
    """
    program = find(mode)
    name = os.path.basename(program)
    own = Member([_endpoint(identity[:SHORT_ID], name)])
    with Networks(places).locked():
        members.write(places, identity, own)
        start = _start_pasta if name == "pasta" else _start_slirp
        own = own._replace(tool=start(program, netns, _number_file(places, identity)))
        members.write(places, identity, own)
        reserved = ports.reserve(wanted.ports)
        if reserved:
            serving = helper.fork(places, identity, reserved, None, netns)
            published = [one.publish for one in reserved]
            members.write(places, identity, own._replace(helper=serving, ports=published))
    for one in reserved:
        one.socket.close()


def detach(places: Places, identity: str, own: Member) -> None:
    """End what carried packets and ports."""
    tool = own.tool if own.tool[0] else _noted(_number_file(places, identity))
    for pid, ticks in (own.helper, tool):
        if pid:
            helper.end(pid, ticks)
    members.forget(places, identity)


def _number_file(places: Places, identity: str) -> str:
    return f"{places.runroot}/{identity}/pasta.pid"


def _start_slirp(program: str, netns: int, _: str) -> tuple[int, int]:
    """It runs as a child of ours, ends with us, and says when it is ready."""
    reader, ready = os.pipe()
    options = ["--configure", f"--mtu={_MTU}", "--disable-host-loopback", f"--ready-fd={ready}", "--netns-type=path"]
    pid = _fork([program, *options, f"/proc/self/fd/{netns}", _INTERFACE], {netns, ready})
    os.close(ready)
    is_ready = os.read(reader, 1)
    os.close(reader)
    if not is_ready:
        raise Refusal(f"{program} could not carry the container's packets: is /dev/net/tun there for this user?")
    return pid, process.start_ticks(pid)


def _start_pasta(program: str, netns: int, number_file: str) -> tuple[int, int]:
    """It goes into the background when it is ready, and leaves its number in a file."""
    reader, writer = os.pipe()
    cat = _be_there(netns, reader)
    nothing = [word for option in ("-t", "-u", "-T", "-U") for word in (option, "none")]
    addresses = ["-a", _ADDRESS, "-n", _PREFIX, "-g", _GATEWAY, "--dns-forward", _NAMESERVER, "--no-map-gw"]
    own = ["--config-net", "-4", "-I", _INTERFACE, "-q", "--no-netns-quit", "-P", number_file]
    command = [program, *own, *nothing, *addresses, "--netns", f"/proc/{cat}/ns/net"]
    try:
        status, _, complaint = programs.run(command)
    finally:
        os.close(reader)
        os.close(writer)
        os.waitpid(cat, 0)
    if status:
        lines = [line for line in complaint.splitlines() if line and "syslog" not in line]
        raise Refusal(f"pasta: {(lines or [f'it ended with status {status}'])[-1]}")
    return _noted(number_file)


def _noted(number_file: str) -> tuple[int, int]:
    """The process whose number is in the file, if it was told to leave it there; (0, 0) otherwise."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        with open(number_file, encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            if os.fsencode(number_file) in command.read().split(b"\0"):
                return pid, process.start_ticks(pid)
    return 0, 0


def _be_there(netns: int, reader: int) -> int:
    """A process in the network namespace, whose /proc this user may read: its number. It ends with the pipe.

    It has no capabilities, as pasta may only look into a process that has none it lacks itself.
    """
    executed, executing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            process.setns(netns, process.CLONE_NEWNET)
            capset(Caps(0, 0, 0))
            process.set_no_new_privileges()
            os.dup2(reader, 0)
            os.execv("/bin/cat", ["cat"])
        finally:
            os._exit(1)
    os.close(executing)
    os.read(executed, 1)  # ends as cat begins
    os.close(executed)
    return pid


def _fork(command: list[str], kept: set[int]) -> int:
    """Run a program that has the descriptors `kept` and dies with this process: its number."""
    pid = os.fork()
    if pid == 0:
        try:
            process.die_with_parent(signal.SIGKILL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
            for number in programs.IGNORED_BY_PYTHON:
                signal.signal(number, signal.SIG_DFL)
            for fd in kept:
                os.set_inheritable(fd, True)
            os.execv(command[0], command)
        finally:
            os._exit(1)
    return pid
