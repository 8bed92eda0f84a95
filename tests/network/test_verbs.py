"""The verb `network`."""

import json
import re
import subprocess

import pytest

from tests.network.conftest import Machine, Pyunion, address_of, ask, say, serve


def test_bridge_is_there_from_the_start(pyunion: Pyunion) -> None:
    lines = pyunion("network", "ls").stdout.splitlines()
    assert [line.split()[-3:] for line in lines] == [
        ["NAME", "DRIVER", "SCOPE"],
        ["bridge", "bridge", "local"],
        ["host", "host", "local"],
        ["none", "null", "local"],
    ]


def test_create_prints_the_id_and_inspect_says_it_all(pyunion: Pyunion) -> None:
    given = ("--subnet=10.7.0.0/24", "--gateway=10.7.0.254", "--ip-range=10.7.0.128/25", "--label=a=b", "--internal")
    identity = pyunion("network", "create", *given, "app").stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", identity)
    (said,) = json.loads(pyunion("network", "inspect", "app").stdout)
    assert (said["Id"], said["Name"], said["Driver"], said["Internal"]) == (identity, "app", "bridge", True)
    assert said["IPAM"]["Config"] == [{"Subnet": "10.7.0.0/24", "Gateway": "10.7.0.254", "IPRange": "10.7.0.128/25"}]
    assert said["Labels"] == {"a": "b"}
    assert "inet 10.7.0.128/24" in pyunion.sh("ip addr", "--network=app")
    assert pyunion("network", "ls", "-q", "--filter=label=a").stdout == f"{identity[:12]}\n"
    assert pyunion("network", "ls", "--format", "{{.Name}}", "--filter", "type=custom").stdout == "app\n"


def test_inspect_names_the_containers(pyunion: Pyunion) -> None:
    pyunion("network", "create", "app")
    serve(pyunion, "web", "--network=app")
    (said,) = json.loads(pyunion("network", "inspect", "app").stdout)
    (container,) = said["Containers"].values()
    assert (container["Name"], container["IPv4Address"]) == ("web", f"{address_of(pyunion, 'web', 'app')}/24")


def test_networks_are_found_by_id_and_its_beginning(pyunion: Pyunion) -> None:
    identity = pyunion("network", "create", "app").stdout.strip()
    for text in (identity, identity[:12]):
        assert pyunion("network", "inspect", "--format", "{{.Name}}", text).stdout == "app\n"


def test_subnets_that_are_not_given_are_free_ones(pyunion: Pyunion) -> None:
    say("ip", "link", "add", "busy", "type", "bridge")
    say("ip", "address", "add", "10.100.0.1/23", "dev", "busy")
    say("ip", "link", "set", "busy", "up")
    for name in ("one", "two"):
        pyunion("network", "create", name)
    template = "{{(index .IPAM.Config 0).Subnet}}"
    assert pyunion("network", "inspect", "-f", template, "one", "two").stdout == "10.100.2.0/24\n10.100.3.0/24\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["bridge"], "network with name bridge already exists"),
        (["host"], "network with name host already exists"),
        (["a/b"], "invalid network name 'a/b'"),
        (["--subnet=192.0.2.0/25", "x"], "subnet 192.0.2.0/25 overlaps with 192.0.2.0/24 of interface up0"),
        (["--subnet=10.90.5.0/24", "x"], "subnet 10.90.5.0/24 overlaps with 10.90.0.0/16 of network bridge"),
        (["--subnet=10.7.0.0/31", "x"], "invalid --subnet 10.7.0.0/31"),
        (["--subnet=ten", "x"], "invalid --subnet ten: it is no network"),
        (["--subnet=10.7.0.0/24", "--gateway=10.8.0.1", "x"], "invalid --gateway 10.8.0.1: it is not an address of"),
        (["--subnet=10.7.0.0/24", "--ip-range=10.8.0.0/25", "x"], "invalid --ip-range 10.8.0.0/25: it is not within"),
        (["--gateway=10.7.0.1", "x"], "--gateway and --ip-range need a --subnet each"),
        (["--driver=overlay", "x"], "unknown --driver 'overlay'"),
        (["--opt=colour=red", "x"], "unknown --opt colour"),
        (["--opt=mtu=9", "x"], "invalid --opt com.docker.network.driver.mtu=9"),
    ],
)
def test_what_can_not_be_made_is_refused(pyunion: Pyunion, options: list[str], complaint: str) -> None:
    result = pyunion("network", "create", *options)
    assert result.returncode != 0
    assert complaint in result.stderr
    assert pyunion("network", "ls", "--filter=type=custom", "-q").stdout == ""


def test_a_network_in_use_stays(pyunion: Pyunion) -> None:
    pyunion("network", "create", "app")
    serve(pyunion, "web", "--network=app")
    result = pyunion("network", "rm", "app")
    assert (result.returncode, result.stderr) == (1, "pyunion network rm: network app is in use by web\n")
    pyunion("rm", "-f", "web")
    assert pyunion("network", "rm", "app").stdout == "app\n"
    assert pyunion("network", "rm", "app").stderr == "pyunion network rm: no such network: app\n"
    assert "built in" in pyunion("network", "rm", "bridge").stderr


def test_prune_removes_what_no_container_is_on(pyunion: Pyunion) -> None:
    for name in ("one", "two", "three"):
        pyunion("network", "create", name)
    serve(pyunion, "web", "--network=one")
    pyunion("run", "--name=stopped", "--network=two", "--rootfs", pyunion.rootfs, "true")
    assert pyunion("network", "prune", "-f").stdout == "three\n"


def test_connect_and_disconnect_while_it_runs(pyunion: Pyunion, machine: Machine) -> None:
    pyunion("network", "create", "--subnet=10.7.0.0/24", "app")
    serve(pyunion, "web", "--network=bridge", "-p8080:80")
    serve(pyunion, "client", "--network=app", port=81)
    assert pyunion("network", "connect", "--alias=www", "--ip=10.7.0.9", "app", "web").stderr == ""
    assert ask(pyunion, "client", "tcp", "www", 80) == address_of(pyunion, "client", "app")
    assert pyunion("network", "disconnect", "bridge", "web").stderr == ""
    assert "default via 10.7.0.1 dev eth1" in pyunion("exec", "web", "busybox", "ip", "route").stdout
    assert machine.ask("tcp", "192.0.2.2", 8080, outside=True) == "192.0.2.1"
    assert machine.ask("tcp", "127.0.0.1", 8080) == "10.7.0.1"
    assert pyunion("network", "disconnect", "app", "web").stderr == ""
    assert ask(pyunion, "client", "tcp", "10.7.0.9", 80, 0.5) in ("TimeoutError", "OSError")


def test_connect_and_disconnect_while_it_does_not(pyunion: Pyunion) -> None:
    pyunion("network", "create", "--subnet=10.7.0.0/24", "app")
    pyunion("create", "--name=one", "--network=bridge", "--rootfs", pyunion.rootfs, "ip", "-o", "-4", "addr")
    assert pyunion("network", "connect", "app", "one").stderr == ""
    said = pyunion("start", "-a", "one").stdout
    assert "eth0    inet 10.90.0.2/16" in said
    assert "eth1    inet 10.7.0.2/24" in said
    assert pyunion("network", "disconnect", "bridge", "one").stderr == ""
    assert "eth0    inet 10.7.0.2/24" in pyunion("start", "-a", "one").stdout


def test_connecting_what_can_not_be_is_refused(pyunion: Pyunion) -> None:
    pyunion("create", "--name=alone", "--network=none", "--rootfs", pyunion.rootfs, "true")
    pyunion("create", "--name=one", "--network=bridge", "--rootfs", pyunion.rootfs, "true")
    pyunion("network", "create", "app")
    for words, complaint in (
        (("connect", "app", "alone"), "container alone was made with --network none, which stays so"),
        (("connect", "bridge", "one"), "container one is already on network bridge"),
        (("disconnect", "app", "one"), "container one is not on network app"),
        (("connect", "host", "one"), "a container can't be put on host"),
        (("connect", "nowhere", "one"), "no such network: nowhere"),
        (("connect", "app"), "network connect takes NETWORK CONTAINER"),
        (("split",), "unknown command: network split"),
    ):
        result = pyunion("network", *words)
        assert result.returncode != 0
        assert complaint in result.stderr


def test_networks_that_no_container_is_on_dangle(pyunion: Pyunion) -> None:
    for name in ("one", "two"):
        pyunion("network", "create", name)
    pyunion("create", "--name=stopped", "--network=one", "--rootfs", pyunion.rootfs, "true")
    listed = ("network", "ls", "--format={{.Name}}", "--filter")
    assert pyunion(*listed, "dangling=true").stdout == "two\n"
    assert pyunion(*listed, "dangling=false").stdout.split() == ["bridge", "host", "none", "one"]
    assert pyunion(*listed, "scope=global").stdout == ""


def test_the_networks_of_a_stopped_container_are_told(pyunion: Pyunion) -> None:
    pyunion("network", "create", "app")
    pyunion("create", "--name=stopped", "--network=app", "--rootfs", pyunion.rootfs, "true")
    template = "{{range $name, $end := .NetworkSettings.Networks}}{{$name}}:{{$end.IPAddress}}{{end}}"
    assert pyunion("inspect", "--format", template, "stopped").stdout == "app:\n"


def test_the_network_bridge_leaves_its_addresses_to_who_took_them_meanwhile(pyunion: Pyunion) -> None:
    """As a tunnel does that comes up later; but not under a container."""
    assert pyunion.sh("ip -o -4 address show eth0", "--network=bridge").split()[3] == "10.90.0.2/16"
    subprocess.run(["ip", "route", "add", "10.90.7.0/24", "dev", "lo"], check=True)
    serve(pyunion, "box", "--network=bridge")
    subprocess.run(["ip", "route", "add", "10.91.7.0/24", "dev", "lo"], check=True)
    assert pyunion.sh("ip -o -4 address show eth0", "--network=bridge").split()[3] == "10.91.0.3/16"


def test_a_network_whose_addresses_somebody_else_has_by_now_carries_no_container(pyunion: Pyunion) -> None:
    pyunion("network", "create", "--subnet=10.7.0.0/24", "app")
    subprocess.run(["ip", "route", "add", "10.7.0.0/16", "dev", "lo"], check=True)
    result = pyunion.run("--network=app", "true")
    assert (result.returncode, result.stderr) == (
        125, "pyunion run: subnet 10.7.0.0/24 overlaps with 10.7.0.0/16 of interface lo\n"
    )  # fmt: skip
