"""Names: who is found by which, and who asks whom about the rest."""

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import process
from tests.network.conftest import NEIGHBOUR, PYTHON, Machine, Pyunion, address_of, serve

NAMESERVER = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 53))
print("ready", flush=True)
while True:
    query, client = server.recvfrom(999)
    end = query.index(bytes(1), 12) + 5
    records = query[end - 3] == 1
    header = query[:2] + bytes((0x81, 0x80, 0, 1, 0, records, 0, 0, 0, 0))
    answer = bytes((0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 203, 0, 113, 5)) if records else b""
    server.sendto(header + query[12:end] + answer, client)
"""
"""Answers every question for an address with 203.0.113.5."""


@pytest.fixture
def app(pyunion: Pyunion) -> Pyunion:
    """With a network `app`, and `web` on it."""
    assert pyunion("network", "create", "app").returncode == 0
    serve(pyunion, "web", "--network=app", "--network-alias=www")
    return pyunion


def look_up(pyunion: Pyunion, name: str, *options: str) -> str:
    """What a new container finds: an address, or nothing."""
    script = f"nslookup {name} | sed -n 's/^Address: //p'"
    return pyunion.run(*options, "sh", "-c", script).stdout.strip()


def test_containers_of_a_network_find_one_another_by_name_alias_and_id(app: Pyunion) -> None:
    address = address_of(app, "web", "app")
    identity = app("ps", "-q").stdout.strip()
    for name in ("web", "www", identity, "WEB", "web.app"):
        assert look_up(app, name, "--network=app") == address


def test_an_address_leads_back_to_the_name(app: Pyunion) -> None:
    script = f"nslookup {address_of(app, 'web', 'app')}"
    assert "name = web.app" in app.run("--network=app", "sh", "-c", script).stdout


def test_names_go_through_tcp_too(app: Pyunion) -> None:
    query = b"\0\x15" + b"\0\1\1\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\1"
    program = f"""
import socket
with socket.create_connection(("127.0.0.11", 53)) as server:
    server.sendall({query!r})
    print(*server.recv(99)[-4:], sep=".")
"""
    said = app("run", "--rm", "--host", "--network=app", PYTHON, "-I", "-S", "-c", program)
    assert said.stdout.strip() == address_of(app, "web", "app"), said.stderr


def test_several_with_one_alias_are_all_found(app: Pyunion) -> None:
    serve(app, "web2", "--network=app", "--network-alias=www")
    found = look_up(app, "www", "--network=app").split()
    assert sorted(found) == sorted(address_of(app, name, "app") for name in ("web", "web2"))


def test_who_left_is_not_found_any_more(app: Pyunion) -> None:
    serve(app, "client", "--network=app", "--dns=127.0.0.1", port=81)
    assert "Address: " in app("exec", "client", "busybox", "nslookup", "web").stdout
    app("rm", "-f", "web")
    assert "Address: " not in app("exec", "client", "busybox", "nslookup", "web").stdout


def test_names_of_another_network_are_not_found(app: Pyunion, machine: Machine) -> None:
    app("network", "create", "other")
    assert look_up(app, "web", "--network=other", "--dns=127.0.0.1") == ""
    assert look_up(app, "web", "--network=bridge", "--dns=127.0.0.1") == ""


@pytest.mark.parametrize("network", ["app", "bridge"])
def test_everything_else_is_asked_of_the_name_server(app: Pyunion, machine: Machine, network: str) -> None:
    with machine.running(NAMESERVER):
        assert look_up(app, "example.com", f"--network={network}", f"--dns={NEIGHBOUR}") == "203.0.113.5"


def test_a_container_of_internal_networks_alone_gets_no_answers_from_outside(app: Pyunion, machine: Machine) -> None:
    app("network", "create", "--internal", "inside")
    serve(app, "hidden", "--network=inside")
    with machine.running(NAMESERVER):
        assert look_up(app, "example.com", "--network=inside", f"--dns={NEIGHBOUR}") == ""
        assert look_up(app, "hidden", "--network=inside") == address_of(app, "hidden", "inside")


def test_port_53_stays_free_for_a_server_of_the_container(app: Pyunion) -> None:
    serve(app, "names", "--network=app", kind="udp", port=53)
    assert look_up(app, "names", "--network=app") == address_of(app, "names", "app")
    assert "Address: " in app("exec", "names", "busybox", "nslookup", "web").stdout


def test_resolv_conf_says_what_was_asked_for(pyunion: Pyunion) -> None:
    given = ("--dns=192.0.2.53", "--dns=2001:db8::53", "--dns-search=example.com", "--dns-option=timeout:1")
    said = "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.com\noptions timeout:1\n"
    for network in ("bridge", "host", "none"):
        assert pyunion.sh("cat /etc/resolv.conf", f"--network={network}", *given) == said
    assert "search" not in pyunion.sh("cat /etc/resolv.conf", "--network=bridge", "--dns-search=.")


def test_hosts_follows_the_networks_of_a_running_container(pyunion: Pyunion) -> None:
    pyunion("network", "create", "--subnet=10.7.0.0/24", "app")
    serve(pyunion, "web", "--network=bridge", "--hostname=web", "--add-host=db:192.0.2.7")
    pyunion("exec", "web", "busybox", "sh", "-c", "printf '192.0.2.8\\tmine' >>/etc/hosts")

    def names() -> list[str]:
        lines = pyunion("exec", "web", "busybox", "cat", "/etc/hosts").stdout.splitlines()
        return [line for line in lines if not line.endswith(("localhost", "loopback"))]

    written = ["192.0.2.7\tdb", "192.0.2.8\tmine"]
    assert pyunion("network", "connect", "app", "web").stderr == ""
    assert names() == [*written, "10.90.0.2\tweb", "10.7.0.2\tweb"]
    assert pyunion("network", "disconnect", "bridge", "web").stderr == ""
    assert names() == [*written, "10.7.0.2\tweb"]
    assert pyunion("network", "disconnect", "app", "web").stderr == ""
    assert names() == [*written, "127.0.1.1\tweb"]


def test_hosts_has_the_own_name_and_what_was_added(pyunion: Pyunion) -> None:
    given = ("--hostname=me", "--add-host=db:192.0.2.7", "--add-host=six:[2001:db8::7]", "--add-host=us:host-gateway")
    lines = pyunion.sh("cat /etc/hosts", "--network=bridge", *given).splitlines()
    assert lines[2:] == ["10.90.0.2\tme", "192.0.2.7\tdb", "2001:db8::7\tsix", "10.90.0.1\tus"]
    assert "192.0.2.7\tdb" in pyunion.sh("cat /etc/hosts", "--network=none", "--add-host=db:192.0.2.7")


@pytest.mark.parametrize("text", ["db", "db:nowhere", ":192.0.2.1", "a b:192.0.2.1", "db:"])
def test_what_is_no_line_of_hosts_is_refused(pyunion: Pyunion, text: str) -> None:
    result = pyunion.run("--network=bridge", "--add-host", text, "true")
    assert result.returncode == 125
    assert "--add-host" in result.stderr


def test_the_helper_can_die_and_the_container_goes_on(app: Pyunion, machine: Machine) -> None:
    helpers = [one for name in os.listdir("/proc") if name.isdigit() and (one := process(int(name)))]
    for one in helpers:
        if one.title.startswith("pyunion: ports and names"):
            os.kill(one.pid, signal.SIGKILL)
    assert machine.ask("tcp", address_of(app, "web", "app"), 80)
    assert "Up " in app("ps").stdout


def test_who_is_connected_while_it_runs_finds_names_at_once(app: Pyunion) -> None:
    given = ("--name=late", "--network=bridge", "-p8080:80", "--rootfs", app.rootfs)
    identity = app("run", "-d", *given, "sleep", "1000").stdout[:12]
    assert "127.0.0.11" not in app("exec", "late", "cat", "/etc/resolv.conf").stdout
    assert app("network", "connect", "app", "late").stderr == ""
    assert len([title for title in titles() if title.endswith(f"ports and names of {identity}")]) == 2
    assert app("exec", "late", "cat", "/etc/resolv.conf").stdout.startswith("nameserver 127.0.0.11\n")
    assert address_of(app, "web", "app") in app("exec", "late", "nslookup", "web").stdout
    app("network", "disconnect", "app", "late")
    assert address_of(app, "web", "app") not in app("exec", "late", "nslookup", "web").stdout
    app("network", "connect", "app", "late")
    assert address_of(app, "web", "app") in app("exec", "late", "nslookup", "web").stdout
    app("rm", "-f", "late")
    assert not any(title.endswith(f"ports and names of {identity}") for title in titles())


def titles() -> list[str]:
    found = (process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [one.title for one in found if one is not None]


@pytest.mark.parametrize("place", ["volume", "link"])
def test_a_resolv_conf_that_is_not_ours_is_left_alone(app: Pyunion, layer: Path, place: str) -> None:
    """A volume in its place, or, where something else was mounted over /etc, what a symlink there leads to."""
    mine = layer / "mine"
    mine.write_text("nameserver 192.0.2.9\n")
    if place == "volume":
        volumes = ["-v", f"{mine}:/etc/resolv.conf"]
    else:
        (layer / "etc").mkdir()
        (layer / "etc/resolv.conf").symlink_to("../tmp/mine")
        volumes = ["-v", f"{layer}/etc:/etc", "-v", f"{mine}:/tmp/mine"]
    app("run", "-d", "--name=late", "--network=bridge", *volumes, "--rootfs", app.rootfs, "sleep", "1000")
    assert app("network", "connect", "app", "late").stderr == ""
    assert app("exec", "late", "cat", "/etc/resolv.conf").stdout == "nameserver 192.0.2.9\n"
    assert mine.read_text() == "nameserver 192.0.2.9\n"


def test_who_shares_a_containers_network_finds_the_names_that_it_does(app: Pyunion) -> None:
    assert look_up(app, "www", "--network=container:web") == address_of(app, "web", "app")
    hosts = app.sh("hostname; cat /etc/hosts", "--network=container:web", "--hostname=side").splitlines()
    identity = app("ps", "-q").stdout.strip()
    assert hosts[0] == "side"
    assert f"{address_of(app, 'web', 'app')}\t{identity} side" in hosts
