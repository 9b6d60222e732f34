"""Small parts of nettools: histogram, netlink messages, rules, probe figures, refused input."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nettools import netlink, probe, rules
from nettools.agent import Agent
from nettools.histogram import Histogram
from nettools.impairment import Impairment
from nettools.queues import Queues

from lab.scenario.impairment import Impairment as Asked


@given(st.lists(st.integers(-5, 10_000_000), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_at_most_one_bucket_too_high(values: list[int], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    ranked = sorted(max(value, 0) for value in values)
    exact = ranked[min(int(-(-share * len(ranked) // 1)), len(ranked)) - 1]
    found = histogram.quantile_us(share)
    assert found is not None
    assert exact <= found <= max(exact * 1.0625, exact + 1)


def test_an_empty_histogram_has_no_quantiles() -> None:
    assert Histogram().to_json() == {"samples": 0, "p50": None, "p99": None, "max": None}


def test_verdict_messages_are_requests() -> None:
    """Without NLM_F_REQUEST the kernel ignores a message and releases nothing."""
    for message in (netlink.accept_up_to(7, 9), netlink.drop(7, 9), netlink.accept(7, 9, b"abcde")):
        length, _kind, flags, _sequence, _port = struct.unpack_from("=IHHII", message)
        assert len(message) == length + -length % 4
        assert flags & 1
        assert struct.unpack_from("!H", message, 18)[0] == 7
        assert struct.unpack_from("!I", message, 28)[0] == 9


def test_a_replaced_payload_is_padded_but_its_length_is_exact() -> None:
    message = netlink.accept(7, 9, b"abcde")
    assert struct.unpack_from("=HH", message, 32) == (4 + 5, 10)
    assert message[36:] == b"abcde\0\0\0"


def test_rules_of_peers_precede_the_general_one_and_can_be_deleted() -> None:
    to_all = rules.queue_rules("eth1", (), 100, ipv6=True)
    to_one = rules.queue_rules("eth1", ("198.18.1.2", "2001:db8::1"), 101, ipv6=True)
    assert [rule[0] for rule in to_all + to_one] == ["iptables", "ip6tables", "iptables", "ip6tables"]
    assert "-A" in to_all[0]
    assert "-I" in to_one[0]
    assert not any("--queue-bypass" in rule for rule in to_all + to_one)
    assert rules.deletions(to_one)[0] == ["-D" if word == "-I" else word for word in to_one[0]]


def test_probe_figures() -> None:
    found = probe.summary([3.0, 1.0, 2.0])
    assert (found["min"], found["p50"], found["max"], found["samples"]) == (1.0, 2.0, 3.0, [3.0, 1.0, 2.0])
    assert probe.summary([])["p99"] is None


def test_the_loopback_answers_probes() -> None:
    found = probe.probe("127.0.0.1", 3, 1)
    assert (found["sent"], found["lost"]) == (3, 0)


def test_lab_and_nettools_have_the_same_impairment_fields() -> None:
    theirs = {field.name for field in dataclasses.fields(Impairment)}
    assert theirs == {field.name for field in dataclasses.fields(Asked)}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"dealy_ms": 1}, "unknown dealy_ms"),
        ({"loss": 2}, "not a fraction"),
        ({"loss_gemodel": [0.1, 2, 0, 0]}, "not a fraction"),
        ({"delay_ms": -3}, "not within"),
        ({"rate_bit_per_s": 0}, "not above 0"),
        ({"distribution": "x"}, "known are"),
        ({"limit_packets": 0}, "at least 1"),
    ],
)
def test_bad_values_are_refused(document: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Impairment.from_json(document)


def clear(interface: str, *command: str) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        agent = Agent(Queues(on_death=pytest.fail))
        asked = {"do": "clear", "interface": interface, "commands": [command]}
        return await agent.answer(json.dumps(asked).encode())

    return asyncio.run(ask())


def test_an_interface_that_is_gone_has_nothing_left_to_clear() -> None:
    """The interface of a container vanishes with it, and its rules before the agent is told to clear them."""
    assert clear("gone0", "ip", "link", "set", "dev", "gone0", "gso_max_segs", "65535")["ok"]
    there = clear("lo", "tc", "qdisc", "del", "dev", "lo", "root", "handle", "77:")
    assert not there["ok"]
    assert "tc: " in there["says"]
