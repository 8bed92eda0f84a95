"""Networks of real containers, on a machine of the tests' own: a network namespace with one neighbour."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.network.namespace import parameter
from tests.e2e.conftest import Pyunion, busybox, layer, own_network, pyunion
from tests.support import needs
from tests.support.waiting import wait_for

__all__ = ["Machine", "Pyunion", "busybox", "layer", "own_network", "python", "pyunion", "serve", "wait_for"]

PYTHON = str(Path(sys.executable).resolve())
MACHINE = "192.0.2.2"
NEIGHBOUR = "192.0.2.1"
_FIRST_WORD_S = 30

PEERS = """
import socket, sys
kind, port = sys.argv[1], int(sys.argv[2])
server = socket.socket(socket.AF_INET6, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind(("::", port))
if kind == "tcp":
    server.listen()
print("ready", flush=True)
while True:
    if kind == "tcp":
        client, (address, *_) = server.accept()
        client.sendall(address.removeprefix("::ffff:").encode())
        client.close()
    else:
        data, client = server.recvfrom(9999)
        server.sendto(data.upper() + b" " + client[0].removeprefix("::ffff:").encode(), client)
"""
"""A server that tells everybody who they are: `tcp PORT` or `udp PORT`."""

ASK = """
import socket, sys
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
client = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
client.settimeout(float(sys.argv[4]))
try:
    client.connect((address, port))
    if kind == "udp":
        client.send(b"hello")
    print(client.recv(999).decode(), end="")
except OSError as error:
    print(type(error).__name__, end="")
"""
"""Ask such a server: what it answers, or the name of the error."""


class Machine:
    """The namespace that the commands of a test run in, and its neighbour."""

    def __init__(self, neighbour: int) -> None:
        self._neighbour = neighbour

    def there(self, *arguments: str) -> list[str]:
        """A command of the neighbour's."""
        return ["nsenter", f"--net=/proc/{self._neighbour}/ns/net", *arguments]

    def ask(self, kind: str, address: str, port: int, patience_s: float = 5, *, outside: bool = False) -> str:
        """What a server answers to this machine, or to its neighbour."""
        command = [PYTHON, "-I", "-S", "-c", ASK, kind, address, str(port), str(patience_s)]
        command = self.there(*command) if outside else command
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    @contextmanager
    def serving(self, kind: str, port: int) -> Iterator[None]:
        """The neighbour has a server that tells everybody who they are."""
        with _ready(self.there(PYTHON, "-I", "-S", "-c", PEERS, kind, str(port))):
            yield

    @contextmanager
    def running(self, program: str) -> Iterator[None]:
        """The neighbour runs a program of Python, which prints a word when it is ready."""
        with _ready(self.there(PYTHON, "-I", "-S", "-c", program)):
            yield


@contextmanager
def _ready(command: list[str]) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


def say(*command: str) -> str:
    """Run a program that must end well: what it prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True)
def machine(own_network: None) -> Iterator[Machine]:
    """A machine 192.0.2.2 with a neighbour 192.0.2.1; afterwards nothing of ours may be left on it."""
    needs.superuser()
    needs.commands("nft", "ip", "nsenter", "sysctl")
    sleeper = ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"]
    with subprocess.Popen(sleeper, stdout=subprocess.PIPE) as neighbour:
        try:
            assert neighbour.stdout is not None
            neighbour.stdout.readline()
            them = Machine(neighbour.pid)
            _connect(them, neighbour.pid)
            yield them
            assert left_behind() == []
        finally:
            neighbour.kill()


def _connect(machine: Machine, neighbour: int) -> None:
    for interface in ("all", "default", "lo"):  # a new namespace has what this machine has, where networks may be used
        say("sysctl", "-qw", f"net.ipv4.conf.{interface}.forwarding=0")
    say("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", str(neighbour))
    say("ip", "address", "add", f"{MACHINE}/24", "dev", "up0")
    say("ip", "-6", "address", "add", "2001:db8::2/64", "dev", "up0", "nodad")
    say("ip", "link", "set", "up0", "up")
    for command in ("link set lo up", f"address add {NEIGHBOUR}/24 dev up1", "link set up1 up"):
        say(*machine.there("ip", *command.split()))
    say(*machine.there("ip", "-6", "address", "add", "2001:db8::1/64", "dev", "up1", "nodad"))
    say("ip", "route", "add", "default", "via", NEIGHBOUR)


def left_behind() -> list[str]:
    """Interfaces and rules of ours on this machine, and interfaces that forward."""
    links = [line.split()[0] for line in say("ip", "-brief", "link").splitlines()]
    tables = say("nft", "list", "tables").splitlines()
    ours = [name for name in links if name.startswith(("pu-", "pv"))] + [name for name in tables if "pyunion" in name]
    return ours + forwarding()


def forwarding() -> list[str]:
    """The entries of /proc/sys/net/*/conf that are on: `all`, `default`, interfaces."""
    conf = Path("/proc/sys/net")
    files = [*conf.glob("ipv4/conf/*/forwarding"), *conf.glob("ipv6/conf/*/force_forwarding")]
    return [f"{file.parent.name} {file.parts[4]}" for file in files if parameter(str(file)) == "1"]


def python(pyunion: Pyunion, name: str, *options: str) -> None:
    """Start a container on this machine's own root; its options end with a program of Python and its arguments.

    Returns when the program has printed its first word.
    """
    *options_, program, first, second = options
    command = [PYTHON, "-I", "-S", "-c", program, first, second]
    result = pyunion("run", "-d", "--name", name, "--host", *options_, *command)
    assert (result.returncode, result.stderr) == (0, "")
    wait_for("server", lambda: pyunion("logs", name).stdout)


def serve(pyunion: Pyunion, name: str, *options: str, kind: str = "tcp", port: int = 80) -> None:
    """Start a container with a server that tells everybody who they are."""
    python(pyunion, name, *options, PEERS, kind, str(port))


def ask(pyunion: Pyunion, name: str, kind: str, address: str, port: int, patience_s: float = 5) -> str:
    """What a server answers to the container `name`."""
    command = [PYTHON, "-I", "-S", "-c", ASK, kind, address, str(port), str(patience_s)]
    result = pyunion("exec", name, *command)
    assert result.stderr == ""
    return result.stdout


def address_of(pyunion: Pyunion, name: str, network: str = "bridge") -> str:
    """The IPv4 address of a container."""
    template = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    return pyunion("inspect", "--format", template, name).stdout.strip()
