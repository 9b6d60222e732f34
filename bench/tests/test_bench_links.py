"""The arithmetic of bench/links.py, on figures whose answers are known."""

from __future__ import annotations

from typing import Any

import pytest

from bench import links


def figures(error_ms: float, **more: Any) -> dict[str, Any]:
    delays = {delay: [2 * delay + 0.1 + error_ms] * 99 + [2 * delay + 5] for delay in links.DELAYS_MS}
    return {"plain": [0.1] * 100, "delays": delays, "vocabulary": {}, **more}


def test_errors_are_over_the_plain_veth_and_beside_netem() -> None:
    of_floods = {"line": [3.0, 4.0, 5.0], "both": [9.0, 9.5, 10.0], "plain": [4.0, 5.0, 6.0]}
    here = figures(
        0.2,
        cost={"CPU, constant": {50_000: of_floods}},
        loaded={20: [40.4] * 100},
        flood=[
            {"sent_per_s": 99_000, "dropped": 0},
            {"sent_per_s": 148_000, "dropped": 0},
            {"sent_per_s": 190_000, "dropped": 7},
        ],
    )
    rows = {(row.figure, row.case): row for row in links.compare(here, figures(0.1))}
    error = rows["rtt error, p99", "20 ms each way"]
    assert (error.value, error.peer_value) == (pytest.approx(0.2), pytest.approx(0.1))
    assert error.to_json()["ratio"] == pytest.approx(2)
    assert rows["CPU, constant", "50,000 packets/s"].value == 4.0
    both = rows["CPU, constant, with the sender", "50,000 packets/s"]
    assert (both.value, both.peer_value) == (9.5, 5.0)
    assert rows["CPU, constant, added to a plain veth", "50,000 packets/s"].value == 4.5
    assert rows["loaded rtt error, mean", "20 ms, 20,000 packets/s"].value == pytest.approx(0.3)
    assert rows["packets without loss", "20 ms"].value == 148_000


def test_without_netem_the_peer_is_unknown() -> None:
    alone = figures(0.2, cost={}, loaded={}, flood=[{"sent_per_s": 20_000, "dropped": 3}])
    rows = list(links.compare(alone, None))
    assert all(row.peer_value is None and row.to_json()["ratio"] is None for row in rows)
    assert rows[-1].value is None
