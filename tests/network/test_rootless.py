"""The network of an ordinary user's container, carried by pasta or slirp4netns."""

import socket

import pytest

from tests.e2e.test_rootless import User, processes, user
from tests.network.conftest import MACHINE, NEIGHBOUR, Machine
from tests.support import needs
from tests.support.waiting import wait_for

__all__ = ["user"]

@pytest.fixture(params=["pasta", "slirp4netns"])
def program(request: pytest.FixtureRequest) -> str:
    needs.commands(request.param)
    return str(request.param)


def test_it_has_an_address_a_way_out_and_a_name_server(user: User, program: str) -> None:
    said = user.output(f"box --network={program} sh -c 'ip -o -4 addr; ip route; cat /etc/resolv.conf'")
    assert "tap0    inet 10.0.2.100/24" in said
    assert "default via 10.0.2.2 dev tap0" in said
    assert "nameserver 10.0.2.3" in said


def test_it_reaches_what_this_machine_reaches_but_not_its_loopback(user: User, machine: Machine, program: str) -> None:
    with machine.serving("tcp", 7777):
        assert user(f"box --network={program} timeout 5 nc {NEIGHBOUR} 7777").stdout == MACHINE
    with socket.create_server(("127.0.0.1", 7777)):
        assert user(f"box --network={program} timeout 1 nc 10.0.2.2 7777").returncode != 0


def test_its_ports_are_reached_from_outside_and_nobody_seems_to_be_local(
    user: User, machine: Machine, program: str
) -> None:
    """What netstat says inside of who is connected is what a server there would see."""
    user.output(f"""
        pyunion run -d --name web --network={program} -p8080:80 --rootfs {user.top}/rootfs \\
            sh -c 'echo ready; exec nc -ll -p 80 -e netstat -tn'
        until pyunion logs web | grep -q ready; do :; done
    """)
    try:
        wait_for("server", lambda: "ESTABLISHED" in machine.ask("tcp", MACHINE, 8080, outside=True))
        lines = machine.ask("tcp", MACHINE, 8080, outside=True).splitlines()
        peers = [words[4] for line in lines if (words := line.split())[3:4] and words[3].endswith("10.0.2.100:80")]
        assert peers
        assert all(peer.removeprefix("::ffff:").startswith("10.0.2.100:") for peer in peers)
        assert user.output("pyunion port web").splitlines()[0] == "80/tcp -> 0.0.0.0:8080"
    finally:
        user.output("pyunion rm -f web")
    assert machine.ask("tcp", MACHINE, 8080, outside=True) == "ConnectionRefusedError"


def test_whoever_is_killed_what_carries_packets_ends(user: User, program: str) -> None:
    user.output(f"""
        pyunion run -d --name web --network={program} -p8080:80 --rootfs {user.top}/rootfs sleep 1000
        kill -9 $(ps -o ppid= -p $(pyunion inspect -f '{{{{.State.Pid}}}}' web))
        while pyunion ps | grep -q web; do :; done
        pyunion rm web
    """)
    assert [title for title in processes() if program in title or "ports and names" in title] == []


def test_networks_need_root(user: User) -> None:
    assert "networks need root" in user("pyunion network create app").stderr
    assert user.output("pyunion network ls --format '{{.Name}}'") == "host\nnone\n"
    assert "--network app: an ordinary user's container has one of" in user("box --network=app true").stderr
    assert "--ip needs a bridge" in user("box --network=bridge --ip=10.0.2.9 true").stderr
