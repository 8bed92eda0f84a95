"""Formats: DNS messages, resolv.conf, netlink attributes, ports, leases."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as some

from runtime.errors import Refusal
from runtime.network import files, message, netlink, pools, ports
from runtime.network.networks import Pool
from runtime.network.wanted import Publish


@given(some.binary(max_size=80))
def test_noise_is_no_query_or_is_answered_with_its_own_question(data: bytes) -> None:
    question = message.parse(data)
    if question is not None:
        answer = message.answer(question, message.REFUSED)
        assert answer[:2] == data[:2]
        assert answer[12:] == question.wire
        assert data[12:].startswith(question.wire)


@given(some.lists(some.text("abcdefgh-", min_size=1, max_size=20), min_size=1, max_size=4))
def test_names_are_read_as_they_are_written(labels: list[str]) -> None:
    wire = message.encode_name(".".join(labels)) + b"\0\1\0\1"
    question = message.parse(b"\0\7\1\0\0\1\0\0\0\0\0\0" + wire)
    assert question is not None
    assert (question.identity, question.name, question.kind) == (7, ".".join(labels), message.A)


def test_an_answer_and_a_question_that_never_ends_are_no_queries() -> None:
    query = b"\0\7\1\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\1"
    assert message.parse(query)
    assert not message.parse(query[:2] + b"\x81" + query[3:])
    assert not message.parse(query[:-1])
    assert not message.parse(query[:12] + b"\xc0\x0c\0\1\0\1")
    assert not message.parse(query[:12] + b"\x3f" * 200)


def test_resolv_conf_is_read_as_resolvers_read_it() -> None:
    servers = ("# x", "nameserver 192.0.2.1 # y", "nameserver nonsense", "nameserver fe80::1%eth0")
    text = "\n".join((*servers, "domain a", "search b c", "options x", "options y"))
    assert files.parse(text) == (["192.0.2.1", "fe80::1%eth0"], ["b", "c"], ["x", "y"])


def test_servers_on_loopback_are_not_handed_on() -> None:
    assert files.reachable(["127.0.0.53", "::1", "192.0.2.1"]) == ["192.0.2.1"]


@given(some.dictionaries(some.integers(0, 1000), some.binary(max_size=9)))
def test_attributes_are_read_as_they_are_written(attributes: dict[int, bytes]) -> None:
    assert netlink.unpack(netlink.pack(attributes)) == attributes


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("80", [("", 0, 80, "tcp")]),
        ("8080:80", [("", 8080, 80, "tcp")]),
        ("8080:80/udp", [("", 8080, 80, "udp")]),
        ("127.0.0.1:8080:80", [("127.0.0.1", 8080, 80, "tcp")]),
        ("127.0.0.1::80", [("127.0.0.1", 0, 80, "tcp")]),
        ("[::1]:8080:80", [("::1", 8080, 80, "tcp")]),
        ("8080-8081:80-81", [("", 8080, 80, "tcp"), ("", 8081, 81, "tcp")]),
        ("80-81", [("", 0, 80, "tcp"), ("", 0, 81, "tcp")]),
    ],
)
def test_ports_are_written_as_dockers(text: str, published: list[tuple[str, int, int, str]]) -> None:
    assert ports.parse(text) == [Publish(*one) for one in published]


def test_the_lowest_free_address_is_leased_until_there_is_none() -> None:
    pool = Pool("10.7.0.0/29", "10.7.0.1", "10.7.0.0/29")
    taken: list[pools.Address] = []
    for last in range(2, 7):
        address = pools.lease(pool, taken)
        assert address == f"10.7.0.{last}/29"
        taken.append(pools.parse_address(address.partition("/")[0], ""))
    with pytest.raises(Refusal, match=r"no address of 10.7.0.0/29 is free"):
        pools.lease(pool, taken)


def test_a_default_subnet_is_one_that_nobody_has() -> None:
    assert pools.choose_default([ip_network("10.90.7.0/24"), ip_network("fd00::/8")]).subnet == "10.91.0.0/16"
    with pytest.raises(Refusal, match="no subnet is free"):
        pools.choose([ip_network("10.0.0.0/8")])
