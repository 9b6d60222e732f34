"""Reading `tc -j -s` back, with output as iproute2 6.1 prints it for Linux 6.1."""

from __future__ import annotations

from typing import Any

import pytest

from lab.impair import readback
from lab.impair.answers import Configured, NetemOptions, Qdisc, Queue
from lab.scenario.impairment import Impairment

PRINTED: dict[str, Any] = {
    "kind": "netem",
    "handle": "1:",
    "root": True,
    "bytes": 4200,
    "packets": 50,
    "drops": 3,
    "overlimits": 0,
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
QDISC = Qdisc.model_validate(PRINTED)
HTB = Qdisc.model_validate({"kind": "htb", "handle": "1:", "root": True, "options": {"default": "0x11"}})
ASKED = Impairment(
    delay_ms=20, jitter_ms=5, delay_correlation=0.25, loss=0.01, duplicate=0.02, duplicate_correlation=0.1
)


def configured(options: dict[str, Any]) -> Impairment:
    return readback.impairment(NetemOptions.model_validate(options))


def test_settings_come_back_in_our_words() -> None:
    found = configured(PRINTED["options"]).to_json()
    assert found.pop("loss") == pytest.approx(0.01)
    assert found == {
        "limit_packets": 60000,
        "delay_ms": pytest.approx(20),
        "jitter_ms": pytest.approx(5),
        "delay_correlation": 0.25,
        "duplicate": 0.02,
        "duplicate_correlation": 0.1,
    }
    assert readback.differences(ASKED, 60000, configured(PRINTED["options"])) == []


def test_a_rate_comes_back_in_bits() -> None:
    found = configured({"limit": 83, "rate": {"rate": 1250000}})
    assert found.to_json() == {"limit_packets": 83, "rate_bit_per_s": 10e6}


def test_loss_models_and_reordering_come_back() -> None:
    chain = {"p13": 0.1, "p31": 0.2, "p32": 0.3, "p23": 0.4, "p14": 0.5}
    assert configured({"limit": 9, "loss-state": chain}).loss_state == (0.1, 0.2, 0.3, 0.4, 0.5)
    gemodel = {"p": 0.1, "r": 0.2, "1-h": 0.3, "1-k": 0.4}
    assert configured({"limit": 9, "loss-gemodel": gemodel}).loss_gemodel == (0.1, 0.2, 0.3, 0.4)
    ahead = configured({"limit": 9, "gap": 5, "reorder": {"reorder": 0.25, "correlation": 0.5}})
    assert (ahead.reorder, ahead.reorder_correlation, ahead.reorder_gap) == (0.25, 0.5, 5)


def test_a_jitter_beyond_the_delay_comes_back_without_its_distribution() -> None:
    asked = Impairment(delay_ms=5, jitter_ms=10, distribution="normal")
    found = configured({"limit": 1000, "delay": {"delay": 0.005, "jitter": 0.01, "correlation": 0}})
    assert readback.differences(asked, 1000, found) == []


def test_each_difference_is_named() -> None:
    wrong = readback.differences(
        Impairment(delay_ms=30, loss=0.02, corrupt=0.1), 1000, configured(PRINTED["options"])
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
    assert (quiet.dropped_queue, quiet.dropped_asked, quiet.dropped) == (3, 0, 3)
    lossy = readback.counters(QDISC, ASKED)
    assert (lossy.dropped_queue, lossy.dropped_asked, lossy.dropped) == (None, None, 3)


def test_what_is_in_force_is_told_by_whom_it_meets() -> None:
    peers = ("198.18.1.2", "198.18.1.3")
    queue = Queue(peers=peers, queue=100, impairment=Impairment(delay_ms=5), rules=())
    of_class = QDISC.model_copy(update={"root": False, "parent": "1:10"})
    kernel = readback.in_force(Configured(qdiscs=(HTB, QDISC, of_class), queues=()))
    assert [to for to, _ in kernel] == ["all", "class 1:10"]
    assert kernel[0][1].delay_ms == pytest.approx(20)
    queues = (queue, queue.model_copy(update={"peers": ()}))
    assert readback.in_force(Configured(qdiscs=(), queues=queues)) == [
        ("198.18.1.2, 198.18.1.3", Impairment(delay_ms=5)),
        ("all", Impairment(delay_ms=5)),
    ]


def test_a_missing_qdisc_is_none() -> None:
    assert readback.find([QDISC], "1:") is QDISC
    assert readback.find([QDISC], "10:") is None
    assert readback.find([HTB], "1:") is None
