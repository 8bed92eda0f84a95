"""Who reaches whom: this machine, its neighbours, containers of the same network and of others."""

import subprocess

import pytest

from tests.network.conftest import MACHINE, NEIGHBOUR, Machine, Pyunion, address_of, ask, say, serve


def test_a_container_has_an_interface_an_address_and_a_way_out(pyunion: Pyunion) -> None:
    said = pyunion.sh("ip -o addr show eth0; ip route", "--network=bridge")
    assert "inet 10.90.0.2/16 brd 10.90.255.255 scope global eth0" in said
    assert "default via 10.90.0.1 dev eth0" in said
    assert "inet6" not in said


def test_what_leaves_carries_this_machines_address(pyunion: Pyunion, machine: Machine) -> None:
    with machine.serving("tcp", 7777), machine.serving("udp", 7777):
        serve(pyunion, "client", "--network=bridge")
        assert ask(pyunion, "client", "tcp", NEIGHBOUR, 7777) == MACHINE
        assert ask(pyunion, "client", "udp", NEIGHBOUR, 7777) == f"HELLO {MACHINE}"


def test_it_keeps_the_containers_address_where_that_is_asked_for(pyunion: Pyunion, machine: Machine) -> None:
    pyunion("network", "create", "--opt", "com.docker.network.bridge.enable_ip_masquerade=false", "routed")
    serve(pyunion, "client", "--network=routed")
    address = address_of(pyunion, "client", "routed")
    subprocess.run(machine.there("ip", "route", "add", address, "via", MACHINE), check=True)
    with machine.serving("tcp", 7777):
        assert ask(pyunion, "client", "tcp", NEIGHBOUR, 7777) == address


def test_containers_of_one_network_reach_one_another(pyunion: Pyunion) -> None:
    serve(pyunion, "web", "--network=bridge")
    serve(pyunion, "client", "--network=bridge", port=81)
    assert ask(pyunion, "client", "tcp", address_of(pyunion, "web"), 80) == address_of(pyunion, "client")


def test_containers_of_two_networks_do_not(pyunion: Pyunion) -> None:
    pyunion("network", "create", "other")
    serve(pyunion, "web", "--network=bridge")
    serve(pyunion, "client", "--network=other", port=81)
    assert ask(pyunion, "client", "tcp", address_of(pyunion, "web"), 80, 0.5) == "TimeoutError"
    assert ask(pyunion, "web", "tcp", address_of(pyunion, "client", "other"), 81, 0.5) == "TimeoutError"


def test_an_internal_network_has_no_outside(pyunion: Pyunion, machine: Machine) -> None:
    pyunion("network", "create", "--internal", "--subnet=10.7.0.0/24", "inside")
    serve(pyunion, "web", "--network=inside", "-p8080:80")
    serve(pyunion, "client", "--network=inside", port=81)
    assert ask(pyunion, "client", "tcp", address_of(pyunion, "web", "inside"), 80)
    with machine.serving("tcp", 7777):
        assert ask(pyunion, "client", "tcp", NEIGHBOUR, 7777) == "OSError"  # unreachable
        inside = f"--net=/proc/{pid_of(pyunion, 'client')}/ns/net"
        say("nsenter", inside, "ip", "route", "add", "default", "via", "10.7.0.1")
        assert ask(pyunion, "client", "tcp", NEIGHBOUR, 7777, 0.5) == "TimeoutError"
    assert machine.ask("tcp", MACHINE, 8080, 0.5, outside=True) in ("TimeoutError", "ConnectionRefusedError")


def pid_of(pyunion: Pyunion, name: str) -> str:
    return pyunion("inspect", "--format", "{{.State.Pid}}", name).stdout.strip()


def test_ipv6_on_both_sides(pyunion: Pyunion, machine: Machine) -> None:
    pyunion("network", "create", "--subnet", "fd00:7::/64", "--ipv6", "six")
    serve(pyunion, "web", "--network=six", "-p8080:80")
    serve(pyunion, "client", "--network=six", "--ip6=fd00:7::77", port=81)
    assert ask(pyunion, "client", "tcp", "fd00:7::2", 80) == "fd00:7::77"
    assert machine.ask("tcp", "2001:db8::2", 8080, outside=True) == "2001:db8::1"
    with machine.serving("tcp", 7777):
        assert ask(pyunion, "client", "tcp", "2001:db8::1", 7777) == "2001:db8::2"


def test_an_address_and_a_hardware_address_can_be_asked_for(pyunion: Pyunion) -> None:
    given = ("--network=bridge", "--ip=10.90.3.4", "--mac-address=02:00:00:aa:bb:cc")
    said = pyunion.sh("ip addr show eth0", *given)
    assert "inet 10.90.3.4/16" in said
    assert "link/ether 02:00:00:aa:bb:cc" in said
    assert "inet 10.90.3.5/16" in pyunion.sh("ip addr show eth0", "--network=bridge:ip=10.90.3.5")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--ip=10.91.0.1"], "invalid --ip 10.91.0.1: it is not an address for containers of 10.90.0.0/16"),
        (["--ip=10.90.0.1"], "invalid --ip 10.90.0.1: it is not an address for containers of 10.90.0.0/16"),
        (["--ip=10.90.0.2"], "address 10.90.0.2 is already in use"),
        (["--ip=x"], "invalid --ip x: it is no address"),
        (["--ip6=fd00::1"], "network bridge has no IPv6: no address fd00::1"),
        (["--mac-address=01:00:00:00:00:00"], "invalid --mac-address 01:00:00:00:00:00: six bytes"),
        (["--network=bridge", "--network=bridge"], "--network: the same one twice"),
        (["--network=bridge", "--network=none"], "--network none: it can't be one of several"),
        (["--network=elsewhere"], "no such network: elsewhere"),
        (["--network=bridge:speed=9"], "unknown option 'speed'"),
    ],
)
def test_what_can_not_be_had_is_refused(pyunion: Pyunion, options: list[str], complaint: str) -> None:
    if "already in use" in complaint:
        serve(pyunion, "first", "--network=bridge")
    network = [] if "--network" in options[0] else ["--network=bridge"]
    result = pyunion.run(*network, *options, "true")
    assert result.returncode in (1, 125)
    assert complaint in result.stderr


def test_several_networks_are_as_many_interfaces(pyunion: Pyunion) -> None:
    pyunion("network", "create", "--subnet", "10.7.0.0/24", "app")
    pyunion("network", "create", "--subnet", "10.8.0.0/24", "--internal", "inside")
    said = pyunion.sh("ip -o -4 addr; ip route", "--network=inside", "--network=app:ip=10.7.0.9,alias=x")
    assert "eth0    inet 10.8.0.2/24" in said
    assert "eth1    inet 10.7.0.9/24" in said
    assert "default via 10.7.0.1 dev eth1" in said


def test_the_network_of_another_container_is_shared(pyunion: Pyunion, machine: Machine) -> None:
    serve(pyunion, "web", "--network=bridge", "-p8080:81")
    serve(pyunion, "side", "--network=container:web", port=81)
    assert machine.ask("tcp", MACHINE, 8080, outside=True) == NEIGHBOUR
    assert ask(pyunion, "side", "tcp", "127.0.0.1", 80) == "127.0.0.1"


def test_a_packet_as_large_as_the_network_is_told_to_carry(pyunion: Pyunion) -> None:
    pyunion("network", "create", "--opt", "mtu=1280", "narrow")
    assert "mtu 1280" in pyunion.sh("ip link show eth0", "--network=narrow")


def test_routers_that_containers_pretend_to_be_are_not_believed(pyunion: Pyunion) -> None:
    pyunion("network", "create", "--ipv6", "--opt", "com.docker.network.bridge.name=six0", "six")
    serve(pyunion, "web", "--network=six")
    with open("/proc/sys/net/ipv6/conf/six0/accept_ra") as file:
        assert file.read() == "0\n"
    assert pyunion("exec", "web", "cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra").stdout == "0\n"


def test_rules_of_this_machine_are_never_touched(pyunion: Pyunion) -> None:
    say("nft", "add table inet mine")
    say("nft", "add chain inet mine input { type filter hook input priority 0; }")
    say("nft", "add rule inet mine input tcp dport 9 drop")
    say("nft", "add table ip nat")
    say("nft", "add chain ip nat postrouting { type nat hook postrouting priority 100; }")
    say("nft", 'add rule ip nat postrouting oifname "x" masquerade')
    before = say("nft", "--stateless", "list", "ruleset")
    serve(pyunion, "web", "--network=bridge", "-p8080:80")
    during = say("nft", "--stateless", "list", "ruleset")
    assert before in during
    assert "table inet pyunion-" in during.removeprefix(before)
    pyunion("rm", "-f", "web")
    assert say("nft", "--stateless", "list", "ruleset") == before


def test_rules_that_were_flushed_are_there_again_with_the_next_container(pyunion: Pyunion, machine: Machine) -> None:
    serve(pyunion, "web", "--network=bridge", "-p8080:80")
    say("nft", "flush", "ruleset")
    pyunion.run("--network=bridge", "true")
    assert machine.ask("tcp", MACHINE, 8080, outside=True) == NEIGHBOUR
