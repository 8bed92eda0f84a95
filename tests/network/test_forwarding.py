"""This machine forwards packets while a network leads out, and not longer, unless somebody else wants it."""

import tempfile
from pathlib import Path

from tests.network.conftest import MACHINE, NEIGHBOUR, Machine, Pyunion, ask, forwarding, say, serve
from tests.support import needs

IPV4, IPV6 = "/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf"


def test_it_ends_with_the_last_container(pyunion: Pyunion, machine: Machine) -> None:
    assert forwarding() == []
    serve(pyunion, "web", "--network=bridge")
    serve(pyunion, "client", "--network=bridge", port=81)
    pyunion("rm", "-f", "web")
    with machine.serving("tcp", 7777):
        assert ask(pyunion, "client", "tcp", NEIGHBOUR, 7777) == MACHINE
    pyunion("rm", "-f", "client")
    assert forwarding() == []


def test_the_switch_of_the_whole_machine_is_left_alone(pyunion: Pyunion) -> None:
    serve(pyunion, "web", "--network=bridge")
    assert "up0 ipv4" in forwarding()
    assert "all ipv4" not in forwarding()


def test_ipv6_too(pyunion: Pyunion) -> None:
    if not Path(f"{IPV6}/all/force_forwarding").exists():
        needs.missing("IPv6 forwarding by interface (Linux 6.17)")
    pyunion("network", "create", "--ipv6", "six")
    serve(pyunion, "web", "--network=six")
    assert "up0 ipv6" in forwarding()
    assert "all ipv6" not in forwarding()
    assert Path(f"{IPV6}/all/forwarding").read_text() == "0\n", "this machine is no router to its neighbours"


def test_who_switches_it_on_meanwhile_keeps_it(pyunion: Pyunion) -> None:
    """As another container engine does that finds it off."""
    serve(pyunion, "web", "--network=bridge")
    say("sysctl", "-qw", "net.ipv4.ip_forward=1")
    pyunion("rm", "-f", "web")
    assert sorted(forwarding()) == ["all ipv4", "default ipv4", "lo ipv4", "up0 ipv4"]
    pyunion.run("--network=bridge", "true")
    assert "up0 ipv4" in forwarding()
    say("sysctl", "-qw", "net.ipv4.ip_forward=0")


def test_who_switches_it_off_meanwhile_cuts_containers_off_until_the_next_one(
    pyunion: Pyunion, machine: Machine
) -> None:
    serve(pyunion, "web", "--network=bridge", "-p8080:80")
    say("sysctl", "-qw", "net.ipv4.ip_forward=1")
    say("sysctl", "-qw", "net.ipv4.ip_forward=0")
    assert machine.ask("tcp", MACHINE, 8080, 0.5, outside=True) == "TimeoutError"
    pyunion.run("--network=bridge", "true")
    assert machine.ask("tcp", MACHINE, 8080, outside=True) == NEIGHBOUR


def test_an_interface_that_forwarded_before_still_does(pyunion: Pyunion) -> None:
    Path(f"{IPV4}/up0/forwarding").write_text("1")
    pyunion.run("--network=bridge", "true")
    assert forwarding() == ["up0 ipv4"]
    Path(f"{IPV4}/up0/forwarding").write_text("0")


def test_an_interface_that_comes_while_a_container_runs_forwards_as_long(pyunion: Pyunion) -> None:
    serve(pyunion, "web", "--network=bridge")
    say("ip", "link", "add", "later", "type", "bridge")
    assert "later ipv4" in forwarding()
    pyunion("rm", "-f", "web")
    assert forwarding() == []


def test_an_internal_network_needs_none(pyunion: Pyunion) -> None:
    pyunion("network", "create", "--internal", "inside")
    serve(pyunion, "web", "--network=inside")
    assert forwarding() == []


def test_disconnecting_the_last_container_ends_it(pyunion: Pyunion) -> None:
    serve(pyunion, "web", "--network=bridge")
    pyunion("network", "disconnect", "bridge", "web")
    assert forwarding() == []


def test_two_state_directories_wait_for_each_other(pyunion: Pyunion, machine: Machine) -> None:
    with tempfile.TemporaryDirectory() as directory:
        other = Pyunion(Path(directory), pyunion.rootfs)
        serve(pyunion, "web", "--network=bridge")
        serve(other, "client", "--network=bridge", port=81)
        pyunion("rm", "-f", "web")
        with machine.serving("tcp", 7777):
            assert ask(other, "client", "tcp", NEIGHBOUR, 7777) == MACHINE
        other("rm", "-f", "client")
    assert forwarding() == []
