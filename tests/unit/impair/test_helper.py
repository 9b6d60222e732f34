"""A helper's answers: decoded once, and refused with one clear error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from lab.common.errors import HostCannot, NoMeasurement
from lab.impair import delayline
from lab.impair.helper import COMMAND_DEADLINE_S, Helper
from lab.impair.link import Egress
from lab.runtime import ExecResult
from lab.scenario.impairment import Impairment

CAN = {"ok": True, "netem": False, "tbf": True, "htb": True, "nfqueue": True, "raw_sockets": True, "why": {}}


class Node:
    """A node whose agent gives one answer. See lab.impair.helper.Helpers."""

    def __init__(self, answer: dict[str, Any] | str) -> None:
        self.out = answer if isinstance(answer, str) else json.dumps(answer)
        self.asked: dict[str, Any] = {}
        self.deadline_s = 0.0

    def helper(self, node: str) -> str:
        return f"net-{node}"

    def interface(self, node: str, network: str) -> str | None:
        raise NotImplementedError

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        self.asked, self.deadline_s = json.loads(argv[-1]), deadline_s
        return ExecResult(0, self.out, "traceback\nlast words")


def test_capabilities_say_what_is_missing() -> None:
    found = Helper(Node(CAN | {"why": {"netem": "no sch_netem"}}), "a").capabilities
    assert found.missing("netem") == "no sch_netem"
    assert found.missing("htb") is None


def test_a_probe_is_given_its_time() -> None:
    samples = dict.fromkeys(("min", "p50", "mean", "p99", "max")) | {"samples": []}
    node = Node({"ok": True, "rtt_ms": samples, "sent": 300, "lost": 300, "by": "icmp"})
    assert Helper(node, "a").probe("198.18.0.2", 300, 5.0).lost == 300
    assert node.deadline_s == COMMAND_DEADLINE_S + 1.5


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ({"ok": False, "says": "no such device"}, HostCannot, "helper of a: capabilities: no such device"),
        ("garbage", NoMeasurement, r"no answer \(traceback last words\)"),
        (CAN | {"netem": "perhaps"}, NoMeasurement, "unknown answer: netem: Input should be a valid boolean"),
        (CAN | {"colour": "red"}, NoMeasurement, "unknown answer: colour: Extra inputs are not permitted"),
        ({"ok": True}, NoMeasurement, "unknown answer: netem: Field required"),
    ],
)
def test_what_is_no_answer_is_one_error(
    answer: dict[str, Any] | str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        _ = Helper(Node(answer), "a").capabilities


COUNTERS = {
    "packets": 90, "bytes": None, "held": 2, "dropped_queue": 3, "dropped_user": 4, "dropped_asked": 5,
    "corrupted": 0, "duplicated": 0, "duplicates_failed": 0, "reordered": 0, "verdicts_refused": 0,
    "lateness_us": {"samples": 90, "p50": 60, "p99": 300, "max": 900},
}  # fmt: skip


def read(**counters: Any) -> Node:
    queue = {"peers": [], "queue": 100, "impairment": {"delay_ms": 5, "limit_packets": 7500}, "rules": []}
    answer = {"configured": {"qdiscs": [], "queues": [queue]}}
    return Node({"ok": True, **answer, "queues": [{"peers": [], "counters": COUNTERS | counters}]})


def test_the_delay_line_is_read_back_and_its_drops_are_summed() -> None:
    egress = Egress("a", "data", impairment=Impairment(delay_ms=5))
    [reading] = delayline.read(Helper(read(), "a"), "eth0", [egress])
    assert reading.configured == Impairment(delay_ms=5, limit_packets=7500)
    assert reading.counters is not None
    assert (reading.counters.dropped, reading.counters.held) == (12, 2)
    assert reading.counters.lateness_us is not None
    assert reading.counters.lateness_us.p99 == 300


def test_counters_that_are_not_told_are_refused() -> None:
    with pytest.raises(NoMeasurement, match=r"read: unknown answer: queues\.0\.counters\.dropped_user"):
        delayline.read(Helper(read(dropped_user=None), "a"), "eth0", [Egress("a", "data")])


def test_another_impairment_than_requested_is_refused() -> None:
    egress = Egress("a", "data", impairment=Impairment(delay_ms=6))
    with pytest.raises(HostCannot, match=r"has .*'delay_ms': 5.* where .*'delay_ms': 6.* was requested"):
        delayline.read(Helper(read(), "a"), "eth0", [egress])
