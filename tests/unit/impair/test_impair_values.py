"""Impairments: what may be asked for, and what it means in the long run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.impair.values import Link, Side
from lab.scenario.impairment import Impairment

SHARES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"delay_ms": -1}, "not within 0"),
        ({"delay_ms": 61_000}, "not within 0"),
        ({"loss": 1.5}, "not a share"),
        ({"jitter_ms": 5, "delay_ms": 2}, "exceeds the delay"),
        ({"delay_correlation": 0.5, "delay_ms": 2}, "nothing that could correlate"),
        ({"loss_correlation": 0.5}, "nothing that could correlate"),
        ({"distribution": "normal", "delay_ms": 5}, "without jitter"),
        ({"distribution": "gauss", "delay_ms": 5, "jitter_ms": 1}, "known are uniform, normal"),
        ({"reorder": 0.1}, "needs a share and a delay"),
        ({"reorder_gap": 5, "delay_ms": 5}, "needs a share and a delay"),
        ({"loss": 0.1, "loss_gemodel": (0.1, 0.1, 0.1, 0.1)}, "only one of"),
        ({"loss_state": (0.1, 0.2)}, "5 shares"),
        ({"loss_state": (0.6, 0.1, 0.1, 0.1, 0.5)}, "at most 1 each"),
        ({"rate_bit_per_s": 10}, "below 1 kbit"),
        ({"limit_packets": 0}, "below 1"),
    ],
)
def test_what_no_link_can_be_is_refused(words: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Impairment(**words)


def test_json_holds_what_differs_and_comes_back() -> None:
    impairment = Impairment(delay_ms=20, jitter_ms=2, loss_state=(0.1, 0.2, 0.3, 0.4, 0.5), seed=7)
    document = json.loads(json.dumps(impairment.to_json()))
    assert set(document) == {"delay_ms", "jitter_ms", "loss_state", "seed"}
    assert Impairment.from_json(document) == impairment
    with pytest.raises(ValueError, match="unknown dealy_ms"):
        Impairment.from_json({"dealy_ms": 1})


def test_constant_is_a_delay_and_nothing_else() -> None:
    assert Impairment(delay_ms=5, limit_packets=9).constant
    words: dict[str, Any]
    for words in ({"jitter_ms": 1}, {"loss": 0.1}, {"rate_bit_per_s": 1e6}, {"loss_gemodel": (0.1, 1, 1, 0)}):
        assert not Impairment(delay_ms=5, **words).constant


@pytest.mark.parametrize(
    ("model", "share"),
    [
        ({"loss": 0.25}, 0.25),
        ({"loss_gemodel": (0.1, 0.4, 0.9, 0.0)}, 0.2 * 0.9),
        ({"loss_gemodel": (0.0, 0.0, 1.0, 0.3)}, 0.3),
        ({"loss_state": (0.1, 0.4, 0.0, 1.0, 0.0)}, 0.2),
        ({"loss_state": (0.0, 1.0, 0.0, 1.0, 0.25)}, 0.2),
        ({"loss_state": (0.5, 0.0, 0.0, 1.0, 0.0)}, 1.0),
        ({"loss_state": (0.5, 0.5, 0.5, 0.0, 0.0)}, 0.0),
    ],
)
def test_long_run_loss_of_each_model(model: dict[str, Any], share: float) -> None:
    assert Impairment(**model).loss_share == pytest.approx(share)


@given(SHARES, SHARES, SHARES, SHARES, SHARES)
def test_the_long_run_loss_of_any_chain_is_a_share(
    p13: float, p31: float, p32: float, p23: float, p14: float
) -> None:
    chain = (p13, p31, p32 * (1 - p31), p23, p14 * (1 - p13))
    assert 0 <= Impairment(loss_state=chain).loss_share <= 1


def test_sides_of_one_link_do_not_lose_in_step() -> None:
    sides = (
        Side("worker-0", "data", "there"),
        Side("worker-1", "data", "there"),
        Side("server", "data", "back"),
    )
    link = Link(("swarm", "servers"), Impairment(loss=0.1), Impairment(delay_ms=3), sides)
    seeds = [link.impairment(side).seed for side in sides[:2]]
    assert seeds[0] != seeds[1]
    assert link.impairment(sides[2]) == link.back
    assert [link.impairment(side).seed for side in sides[:2]] == seeds


def test_a_link_tells_what_was_asked() -> None:
    there, back = Impairment(delay_ms=20, loss=0.1, seed=1), Impairment(delay_ms=20, loss=0.1, seed=2)
    link = Link(("swarm", "servers"), there, back, ())
    assert link.requested() == {"delay_ms": 20, "loss": 0.1}
    assert link.rtt_ms == 40
    assert link.loss_share == pytest.approx(1 - 0.9 * 0.9)
