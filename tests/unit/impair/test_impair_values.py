"""Impairments: what may be asked for, and what it means in the long run."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nettools.impairment import Impairment as InTheDelayLine

from lab.impair.link import Egress, Link
from lab.results.link import Directions
from lab.scenario.impairment import Impairment, ImpairmentFields

SHARES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"delay_ms": -1}, "delay: -1 ms is below 0s"),
        ({"delay_ms": 61_000}, "delay: 61s is more than 60s"),
        ({"loss": 1.5}, "loss: 1.5 is not within 0 … 1"),
        ({"jitter_ms": 5, "delay_ms": 2}, "exceeds the delay"),
        ({"delay_correlation": 0.5, "delay_ms": 2}, "^correlation needs jitter$"),
        ({"loss_correlation": 0.5}, "^loss-correlation needs loss$"),
        ({"distribution": "normal", "delay_ms": 5}, "distribution normal needs jitter"),
        ({"distribution": "gauss", "delay_ms": 5, "jitter_ms": 1}, "known: uniform, normal"),
        ({"reorder": 0.1}, "reorder needs a delay"),
        ({"reorder_gap": 5, "delay_ms": 5}, "gap needs reorder"),
        ({"loss": 0.1, "loss_gemodel": (0.1, 0.1, 0.1, 0.1)}, "only one of"),
        ({"loss_state": (0.1, 0.2)}, "loss: state needs 5 numbers within 0"),
        ({"loss_state": (0.6, 0.1, 0.1, 0.1, 0.5)}, "at most 1 each"),
        ({"rate_bit_per_s": 10}, "below the minimum of 1kbit"),
        ({"limit_packets": 0}, "limit: 0 is below 1"),
    ],
)
def test_what_no_link_can_be_is_refused(words: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Impairment(**words)


def test_the_type_of_its_fields_names_all_of_them() -> None:
    names = {field.name for field in fields(Impairment)}
    assert ImpairmentFields.__annotations__.keys() == names
    assert {field.name for field in fields(InTheDelayLine)} == names


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


def test_egresses_of_one_link_do_not_lose_the_same_packets() -> None:
    egresses = (Egress("worker-0", "data"), Egress("worker-1", "data"), Egress("server", "data", "back"))
    requested = Directions(Impairment(loss=0.1), Impairment(delay_ms=3))
    link = Link(("swarm", "servers"), requested, egresses)
    first, second, server = (egress.impairment for egress in link.egresses)
    assert first.seed != second.seed
    assert server == requested.back
    assert Link(("swarm", "servers"), requested, link.egresses) == link


def test_a_changed_link_draws_from_the_same_seeds() -> None:
    link = Link(("swarm", "servers"), Directions(Impairment(loss=0.1)), (Egress("worker-0", "data"),))
    changed = replace(link, requested=Directions(Impairment(loss=0.2)))
    assert changed.egresses[0].impairment == replace(link.egresses[0].impairment, loss=0.2)


def test_what_a_kernel_holds_need_not_be_what_a_link_could_ask_for() -> None:
    held = {"delay_ms": 2, "jitter_ms": 5, "loss_state": [0.1, 0.2, 0.3, 0.4, 0.5]}
    found = Impairment.read_back(held)
    assert (found.jitter_ms, found.loss_state, found.reorder_gap) == (5, (0.1, 0.2, 0.3, 0.4, 0.5), 1)
    with pytest.raises(ValueError, match="unknown dealy_ms"):
        Impairment.read_back({"dealy_ms": 1})
