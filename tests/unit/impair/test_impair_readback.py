"""Reading `tc -j -s` back, with output as iproute2 6.1 prints it for Linux 6.1."""

from __future__ import annotations

from typing import Any

import pytest

from lab.impair import readback
from lab.scenario.impairment import Impairment

QDISC: dict[str, Any] = {
    "kind": "netem",
    "handle": "1:",
    "root": True,
    "bytes": 4200,
    "packets": 50,
    "drops": 3,
    "qlen": 2,
    "options": {
        "limit": 60000,
        "delay": {"delay": 0.02, "jitter": 0.005, "correlation": 0.25},
        "loss-random": {"loss": 0.010000000009, "correlation": 0},
        "duplicate": {"duplicate": 0.02, "correlation": 0.1},
        "rate": {"rate": 12500000000, "packetoverhead": 0, "cellsize": 0, "celloverhead": 0},
        "ecn": False,
        "gap": 0,
    },
}
ASKED = Impairment(
    delay_ms=20, jitter_ms=5, delay_correlation=0.25, loss=0.01, duplicate=0.02, duplicate_correlation=0.1
)


def test_settings_come_back_in_our_words() -> None:
    found = readback.configured(QDISC)
    assert found.pop("loss") == pytest.approx(0.01)
    assert found == {
        "limit_packets": 60000,
        "delay_ms": pytest.approx(20),
        "jitter_ms": pytest.approx(5),
        "delay_correlation": 0.25,
        "duplicate": 0.02,
        "duplicate_correlation": 0.1,
    }
    assert readback.differences(ASKED, 60000, readback.configured(QDISC)) == []


def test_a_rate_comes_back_in_bits() -> None:
    found = readback.configured({"options": {"limit": 83, "rate": {"rate": 1250000}}})
    assert found == {"limit_packets": 83, "rate_bit_per_s": 10e6}


def test_each_difference_is_named() -> None:
    wrong = readback.differences(
        Impairment(delay_ms=30, loss=0.02, corrupt=0.1), 1000, readback.configured(QDISC)
    )
    assert [line.split(":")[0] for line in wrong] == [
        "corrupt",
        "delay_correlation",
        "delay_ms",
        "duplicate",
        "duplicate_correlation",
        "jitter_ms",
        "limit_packets",
        "loss",
    ]


def test_drops_are_known_only_where_none_are_asked_for() -> None:
    quiet = readback.counters(QDISC, Impairment(delay_ms=20))
    assert (quiet["dropped_queue"], quiet["dropped_asked"], quiet["dropped"]) == (3, 0, 3)
    lossy = readback.counters(QDISC, ASKED)
    assert (lossy["dropped_queue"], lossy["dropped_asked"], lossy["dropped"]) == (None, None, 3)


def test_what_is_in_force_is_told_by_whom_it_meets() -> None:
    queue = {"peers": ["198.18.1.2", "198.18.1.3"], "queue": 100, "impairment": {"delay_ms": 5}, "rules": []}
    of_class = {**{key: value for key, value in QDISC.items() if key != "root"}, "parent": "1:10"}
    kernel = readback.in_force({"queues": [], "qdiscs": [{"kind": "htb", "handle": "1:"}, QDISC, of_class]})
    assert [link["to"] for link in kernel] == ["all", "class 1:10"]
    assert kernel[0]["impairment"]["delay_ms"] == pytest.approx(20)
    assert readback.in_force({"queues": [queue, queue | {"peers": []}], "qdiscs": []}) == [
        {"to": "198.18.1.2, 198.18.1.3", "impairment": {"delay_ms": 5}},
        {"to": "all", "impairment": {"delay_ms": 5}},
    ]


def test_a_missing_qdisc_is_none() -> None:
    assert readback.find([QDISC], "netem", "1:") is QDISC
    assert readback.find([QDISC], "netem", "10:") is None
