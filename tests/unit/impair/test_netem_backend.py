"""The netem backend, over an agent that answers as iproute2 6.1 prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from lab.common.errors import HostCannot, LabError
from lab.impair import netem
from lab.impair.helper import Helper
from lab.impair.link import Egress
from lab.runtime import ExecResult
from lab.scenario.impairment import Impairment

DELAY = Egress("a", "data", impairment=Impairment(delay_ms=20))


class Node:
    """A node with one netem at its root, whatever it is told. See lab.impair.helper.Helpers."""

    def __init__(self, **options: Any) -> None:
        qdisc = {
            "kind": "netem", "handle": "1:", "root": True, "refcnt": 2, "options": options,
            "bytes": 4200, "packets": 50, "drops": 0, "overlimits": 0, "requeues": 0, "backlog": 0, "qlen": 2,
        }  # fmt: skip
        self.qdiscs = [qdisc]
        self.asked: dict[str, Any] = {}

    def helper(self, node: str) -> str:
        return f"net-{node}"

    def interface(self, node: str, network: str) -> str | None:
        raise NotImplementedError

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        self.asked = json.loads(argv[-1])
        answer: dict[str, Any] = {"ok": True, "configured": {"qdiscs": self.qdiscs, "queues": []}}
        if self.asked["do"] == "read":
            answer["queues"] = []
        else:
            answer |= {"wanted_mono_ms": self.asked["at_mono_ms"], "applied_mono_ms": 7.5}
        return ExecResult(0, json.dumps(answer), "")


def held(delay_s: float, **more: Any) -> Node:
    delay = {"delay": delay_s, "jitter": 0, "correlation": 0}
    return Node(limit=30_000, delay=delay, ecn=False, gap=0, **more)


def test_what_is_built_is_read_back() -> None:
    node = held(0.02)
    [configured] = netem.build(Helper(node, "a"), "eth0", [DELAY])
    assert configured == Impairment(delay_ms=20, limit_packets=30_000)
    [command] = node.asked["commands"]
    assert " ".join(command) == "tc qdisc replace dev eth0 root handle 1: netem delay 20ms limit 30000"


def test_counters_are_read() -> None:
    [reading] = netem.read(Helper(held(0.02), "a"), "eth0", [DELAY])
    assert reading.counters is not None
    assert (reading.counters.packets, reading.counters.bytes, reading.counters.held) == (50, 4200, 2)
    assert reading.counters.lateness_us is None


def test_a_change_is_told_with_its_time() -> None:
    in_order = {"rate": {"rate": 12_500_000_000, "packetoverhead": 0, "cellsize": 0, "celloverhead": 0}}
    to = Impairment(delay_ms=60, limit_packets=30_000)
    changed = netem.change(Helper(held(0.06, **in_order), "a"), "eth0", [DELAY], 0, to, 5.0)
    assert changed == (7.5, to)


def test_an_impairment_that_somebody_has_changed_is_refused() -> None:
    with pytest.raises(
        HostCannot, match=r"netem 1: is not as requested: delay_ms: requested 20, .* has 60\.0"
    ):
        netem.read(Helper(held(0.06), "a"), "eth0", [DELAY])


def test_a_netem_that_has_vanished_is_an_error() -> None:
    node = held(0.02)
    node.qdiscs = [{"kind": "noqueue", "handle": "0:", "root": True, "options": {}}]
    with pytest.raises(LabError, match="netem 1: has vanished"):
        netem.read(Helper(node, "a"), "eth0", [DELAY])
