"""What other tables of rules do to containers, and who says so."""

import json

import pytest

from tests.network.conftest import MACHINE, NEIGHBOUR, Machine, Pyunion, ask, say, serve
from tests.support import needs


def test_doctor_tells_who_drops_what_is_forwarded_and_the_remedy_helps(pyunion: Pyunion, machine: Machine) -> None:
    say("nft", "add table ip filter")
    say("nft", "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
    serve(pyunion, "web", "--network=bridge")
    (found,) = [one for one in json.loads(pyunion("doctor", "--json").stdout) if one["about"] == "forwarded packets"]
    assert found["fact"].startswith("ip filter FORWARD drops it unless told otherwise")
    with machine.serving("tcp", 7777):
        assert ask(pyunion, "web", "tcp", NEIGHBOUR, 7777, 0.5) == "TimeoutError"
        say("sh", "-ec", found["remedy"])
        assert ask(pyunion, "web", "tcp", NEIGHBOUR, 7777) == MACHINE


def test_doctor_says_nothing_of_rules_where_there_are_none(pyunion: Pyunion) -> None:
    assert "forwarded" not in pyunion("doctor", "--json").stdout


@pytest.mark.parametrize("version", ["", "6"])
def test_doctor_sees_the_older_tables_that_nft_does_not_show(pyunion: Pyunion, machine: Machine, version: str) -> None:
    program = f"ip{version}tables-legacy"
    needs.commands(program)
    say(program, "-P", "FORWARD", "DROP")
    pyunion("network", "create", "--ipv6", "six")
    serve(pyunion, "web", "--network=six")
    (found,) = [one for one in json.loads(pyunion("doctor", "--json").stdout) if one["about"] == "forwarded packets"]
    assert found["fact"].startswith(f"chain FORWARD of {program} drops it unless told otherwise")
    ours, theirs = ("2001:db8::2", "2001:db8::1") if version else (MACHINE, NEIGHBOUR)
    with machine.serving("tcp", 7777):
        assert ask(pyunion, "web", "tcp", theirs, 7777, 0.5) == "TimeoutError"
        say("sh", "-ec", found["remedy"])
        assert ask(pyunion, "web", "tcp", theirs, 7777) == ours
    say(program, "-P", "FORWARD", "ACCEPT")
    assert "forwarded" not in pyunion("doctor", "--json").stdout
