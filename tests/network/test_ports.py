"""Published ports: who reaches them, from where, and who doesn't."""

import socket
import subprocess
from pathlib import Path

import pytest

from tests.network.conftest import MACHINE, NEIGHBOUR, PEERS, PYTHON, Machine, Pyunion, address_of, ask, serve
from tests.support.waiting import wait_for


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_published_port_is_reached_from_everywhere(pyunion: Pyunion, machine: Machine, kind: str) -> None:
    serve(pyunion, "web", "--network=bridge", f"-p8080:80/{kind}", kind=kind)
    said = "HELLO " if kind == "udp" else ""
    assert machine.ask(kind, MACHINE, 8080, outside=True) == f"{said}{NEIGHBOUR}"
    for address in ("127.0.0.1", "::1", MACHINE):
        assert machine.ask(kind, address, 8080).startswith(said or ("10.90.0.1", MACHINE))
    assert machine.ask(kind, address_of(pyunion, "web"), 80)


def test_containers_reach_it_through_this_machine_even_its_own(pyunion: Pyunion, machine: Machine) -> None:
    serve(pyunion, "web", "--network=bridge", "-p8080:80")
    pyunion("network", "create", "other")
    serve(pyunion, "client", "--network=other", port=81)
    assert ask(pyunion, "web", "tcp", MACHINE, 8080) == "10.90.0.1"
    assert ask(pyunion, "client", "tcp", MACHINE, 8080) == "10.90.0.1"


def test_a_port_on_loopback_is_this_machines_alone(pyunion: Pyunion, machine: Machine) -> None:
    """Nor is the kernel told to take packets for 127.0.0.1 from neighbours."""
    serve(pyunion, "web", "--network=bridge", "-p127.0.0.1:8080:80")
    assert machine.ask("tcp", "127.0.0.1", 8080) == "10.90.0.1"
    assert machine.ask("tcp", MACHINE, 8080, outside=True) == "ConnectionRefusedError"
    settings = list(Path("/proc/sys/net/ipv4/conf").glob("*/route_localnet"))
    assert {path.read_text() for path in settings} == {"0\n"}


def test_a_port_on_one_address_is_not_on_the_others(pyunion: Pyunion, machine: Machine) -> None:
    serve(pyunion, "web", "--network=bridge", f"-p{MACHINE}:8080:80")
    assert machine.ask("tcp", MACHINE, 8080, outside=True) == NEIGHBOUR
    assert machine.ask("tcp", MACHINE, 8080) == MACHINE
    assert machine.ask("tcp", "127.0.0.1", 8080) == "ConnectionRefusedError"


def test_what_is_not_published_is_not_reached_from_outside(pyunion: Pyunion, machine: Machine) -> None:
    """Even by a neighbour who knows the way to the network."""
    serve(pyunion, "web", "--network=bridge", "-p8080:80")
    subprocess.run(machine.there("ip", "route", "add", "10.90.0.0/16", "via", MACHINE), check=True)
    assert machine.ask("tcp", MACHINE, 8080, outside=True) == NEIGHBOUR
    assert machine.ask("tcp", address_of(pyunion, "web"), 80, 0.5, outside=True) == "TimeoutError"


def test_a_range_is_published_port_by_port(pyunion: Pyunion, machine: Machine) -> None:
    serve(pyunion, "web", "--network=bridge", "-p8080-8082:80-82", port=81)
    assert machine.ask("tcp", MACHINE, 8081, outside=True) == NEIGHBOUR
    assert machine.ask("tcp", MACHINE, 8080, outside=True) == "ConnectionRefusedError"
    lines = pyunion("port", "web").stdout.splitlines()
    assert [line for line in lines if "[::]" not in line] == [f"{80 + i}/tcp -> 0.0.0.0:{8080 + i}" for i in range(3)]


def test_a_port_that_is_not_given_is_chosen_and_shown(pyunion: Pyunion, machine: Machine) -> None:
    serve(pyunion, "web", "--network=bridge", "-p80")
    where = pyunion("port", "web", "80").stdout.splitlines()
    number = int(where[0].removeprefix("0.0.0.0:"))
    assert where == [f"0.0.0.0:{number}", f"[::]:{number}"]
    assert machine.ask("tcp", MACHINE, number, outside=True) == NEIGHBOUR
    assert f"0.0.0.0:{number}->80/tcp, [::]:{number}->80/tcp" in pyunion("ps").stdout
    assert pyunion("port", "web", "81").stderr == "pyunion port: port 81/tcp of container web is not published\n"


def test_publish_all_publishes_what_is_exposed(pyunion: Pyunion, machine: Machine) -> None:
    serve(pyunion, "web", "--network=bridge", "-P", "--expose=80", "--expose=90-91/udp")
    lines = pyunion("port", "web").stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"80/tcp", "90/udp", "91/udp"}
    number = int(pyunion("port", "web", "80").stdout.split()[0].rpartition(":")[2])
    assert machine.ask("tcp", MACHINE, number, outside=True) == NEIGHBOUR


def test_a_port_can_be_published_once(pyunion: Pyunion) -> None:
    serve(pyunion, "web", "--network=bridge", "-p8080:80")
    result = pyunion.run("--network=bridge", "-p8080:80", "true")
    assert result.returncode == 125
    assert result.stderr == "pyunion run: publish 0.0.0.0:8080/tcp: port is already allocated\n"
    assert pyunion.run("--network=bridge", "-p8080:80/udp", "true").returncode == 0
    pyunion("rm", "-f", "web")
    assert pyunion.run("--network=bridge", "-p8080:80", "true").returncode == 0


def test_a_port_of_another_program_is_left_to_it(pyunion: Pyunion) -> None:
    with socket.create_server(("127.0.0.1", 8080)):
        result = pyunion.run("--network=bridge", "-p8080:80", "true")
    assert "port is already allocated" in result.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x:80", "invalid port 'x' in x:80: it is not a number"),
        ("80:70000", "invalid port '70000' in 80:70000: ports go from 1 to 65535"),
        ("0", "invalid --publish 0: the container's port can't be 0"),
        ("1-2:3-5", "invalid --publish 1-2:3-5: 1-2 and 3-5 are not of the same length"),
        ("80/sctp", "invalid --publish 80/sctp: 'sctp' is neither tcp nor udp"),
        ("nowhere:80:80", "invalid --publish nowhere:80:80: 'nowhere' is not an address of this machine"),
        ("::1:80:80", "invalid --publish ::1:80:80: an IPv6 address is written in brackets, [::1]:80:80"),
        ("[::1:80", "invalid --publish [::1:80: no ']:' behind the address"),
    ],
)
def test_what_is_no_port_is_refused(pyunion: Pyunion, text: str, complaint: str) -> None:
    result = pyunion.run("--network=bridge", "-p", text, "true")
    assert (result.returncode, result.stderr.splitlines()[0]) == (125, f"pyunion run: {complaint}")


def test_an_address_this_machine_has_not_is_refused(pyunion: Pyunion) -> None:
    result = pyunion.run("--network=bridge", "-p192.0.2.99:80:80", "true")
    assert result.stderr == "pyunion run: publish 192.0.2.99:80/tcp: this machine has no such address\n"


def test_publishing_without_a_network_of_its_own_is_refused(pyunion: Pyunion) -> None:
    for network in ("host", "none"):
        result = pyunion.run(f"--network={network}", "-p80", "true")
        assert f"it means nothing with --network {network}" in result.stderr


def test_without_nft_ports_are_carried_by_hand(pyunion: Pyunion, machine: Machine) -> None:
    """All but the way out of the container, for which the kernel's rules are needed, works."""
    hide = 'mount --bind /dev/null "$(command -v nft)"; exec "$@"'
    real = pyunion.argv

    def argv(*arguments: object) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", hide, "sh", *real(*arguments)]  # type: ignore[arg-type]

    pyunion.argv = argv  # type: ignore[method-assign]
    for kind in ("tcp", "udp"):
        program = [PYTHON, "-I", "-S", "-c", PEERS, kind, "80"]
        result = pyunion("run", "-d", f"-p8080:80/{kind}", "--host", *program)
        assert result.stderr.startswith("pyunion: nft is not installed (apt-get install nftables)")
    wait_for("server", lambda: machine.ask("tcp", MACHINE, 8080, outside=True) == "10.90.0.1")
    wait_for("server", lambda: machine.ask("udp", MACHINE, 8080, outside=True) == "HELLO 10.90.0.1")


def test_a_client_that_goes_on_sending_finds_a_new_container(pyunion: Pyunion, machine: Machine) -> None:
    """It sends from one port before there is a container, to one, and to the next, which has another address."""
    program = """
import socket, sys
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(0.2)
last = ""
while True:
    client.sendto(b"hello", ("192.0.2.2", 8053))
    try:
        heard = client.recv(99).decode().split()[0]
    except OSError:
        heard = "nobody"
    if heard != last:  # all answers, at thousands in a second, would be longer to read than anybody waits
        print(heard, flush=True)
    last = heard
"""
    command = machine.there(PYTHON, "-I", "-S", "-c", program)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None

        def hears(word: str) -> bool:
            assert client.stdout is not None
            return client.stdout.readline() == f"{word}\n"

        wait_for("no answer", lambda: hears("nobody"))
        serve(pyunion, "one", "--network=bridge", "-p8053:53/udp", kind="udp", port=53)
        wait_for("an answer", lambda: hears("HELLO"))
        pyunion("rm", "-f", "one")
        wait_for("no answer", lambda: hears("nobody"))
        serve(pyunion, "two", "--network=bridge", "--ip=10.90.0.99", "-p8053:53/udp", kind="udp", port=53)
        wait_for("an answer", lambda: hears("HELLO"))
        client.kill()


def test_the_bytes_of_a_connection_arrive_and_its_halves_end_apart(pyunion: Pyunion) -> None:
    """Through 127.0.0.1, where every byte is carried by hand: a megabyte there, its count back after the end."""
    pyunion("run", "-d", "--network=bridge", "-p127.0.0.1:8080:80", "--rootfs", pyunion.rootfs,
            "nc", "-ll", "-p", "80", "-e", "wc", "-c")  # fmt: skip

    def count() -> bytes:
        with socket.create_connection(("127.0.0.1", 8080)) as client:
            client.sendall(bytes(1 << 20))
            client.shutdown(socket.SHUT_WR)
            return client.recv(99)

    wait_for("server", lambda: _or_nothing(count))
    assert count() == b"1048576\n"


def _or_nothing(ask_for: object) -> object:
    try:
        return ask_for()  # type: ignore[operator]
    except OSError:
        return None


def test_of_a_range_for_one_port_the_first_that_is_free_is_taken(pyunion: Pyunion, machine: Machine) -> None:
    for name, port in (("first", "8001:9"), ("web", "8001-8003:80"), ("other", "127.0.0.1:8001-8003:80")):
        serve(pyunion, name, "--network=bridge", f"-p{port}")
    assert pyunion("port", "web", "80").stdout == "0.0.0.0:8002\n[::]:8002\n"
    assert pyunion("port", "other", "80").stdout == "127.0.0.1:8003\n"
    assert machine.ask("tcp", MACHINE, 8002, outside=True) == NEIGHBOUR
    result = pyunion.run("--network=bridge", "-p8001-8003:80", "true")
    assert (result.returncode, "0.0.0.0:8003/tcp: port is already allocated" in result.stderr) == (125, True)
