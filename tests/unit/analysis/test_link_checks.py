"""Links: as asked, or named."""

# ruff: noqa: E501  (tables are easier to read in one line a row)

from dataclasses import replace
from typing import Any

import pytest

from lab.results.link import LinkRecord
from lab.results.node import TimedEvent
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.records import counted, judged, series, trial

CHANGE = {"wanted_mono_ms": 5_000.0, "applied_mono_ms": 5_001.0, "there": {"delay_ms": 45.0}, "back": {}}


def probe(p50: float, lost: int = 0, samples: int = 400) -> dict[str, Any]:
    return {"rtt_ms": p50, "rtt_p50_ms": p50, "sent": samples, "lost": lost, "loss": lost / samples}


def link(requested: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    counted_ = {
        "packets": 90_000,
        "bytes": 9_000_000,
        "dropped": 0,
        "dropped_queue": 0,
        "dropped_user": 0,
        "dropped_asked": 0,
    }
    asked = {"delay_ms": 20.0} if requested is None else requested
    return {
        "endpoints": ["swarm", "servers"], "backend": "delayline", "stamp": "delay: user space",
        "requested": asked,
        "configured": {"server eth1": asked.get("back", asked)},
        "measured": {"before": probe(40.3), "after": probe(40.5)},
        "counters": {"server eth1": counted_ | {"lateness_us": late(300)}}, "changes": [],
    } | changes  # fmt: skip


def counting(**changes: Any) -> dict[str, Any]:
    counters = link()["counters"]["server eth1"]
    return {"server eth1": counters | changes}


def late(p99_us: float) -> dict[str, float]:
    return {"samples": 90_000, "p50": 60, "p99": p99_us, "max": p99_us}


def linked(one: dict[str, Any]) -> TrialRecord:
    return replace(
        trial(),
        links=(LinkRecord.model_validate(one),),
        scenario=records.scenario(links=[{"endpoints": ["swarm", "servers"]}]),
    )


def seen(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {"before": before, "after": after}


def test_a_link_as_asked_is_silent():
    summary = judged(linked(link()))
    assert not counted(summary)
    assert "delay: user space" in summary.stamps
    assert summary.checks["link_delay"] == {"ok": 1}


WRONG_LINKS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("3 ms too slow", "link_delay", "suspect", {"measured": seen(probe(40.2), probe(43.0))}),
    ("no delay at all", "link_delay", "invalid", {"measured": seen(probe(0.2), probe(0.2))}),
    ("loss nobody asked for", "link_loss", "invalid", {"measured": seen(probe(40.2), probe(40.2, lost=1))}),
    ("probed only before", "link_loss", "unknown", {"measured": {"before": probe(40.2)}}),
    ("a full queue", "link_drops", "invalid", {"counters": counting(dropped_queue=1)}),
    ("an overrun of the delay line", "link_drops", "invalid", {"counters": counting(dropped_user=7)}),
    (
        "a late delay line",
        "delayline_lateness",
        "suspect",
        {"counters": counting(lateness_us=late(1500))},
    ),
    (
        "a very late one",
        "delayline_lateness",
        "invalid",
        {"counters": counting(lateness_us=late(4000))},
    ),
    ("lateness not told", "delayline_lateness", "unknown", {"counters": counting(lateness_us=None)}),
    ("a rule that vanished", "link_in_force", "invalid", {"problems": ["the netem qdisc of eth1 is gone"]}),
    ("counters not read", "link_drops", "unknown", {"counters": {}}),
]


def test_an_event_that_did_not_happen_is_invalid():
    event = TimedEvent(what="limit", target="server", wanted_mono_ms=1.0, error="not here")
    summary = judged(replace(linked(link()), events=(event,)))
    assert ("link_in_force", "invalid") in counted(summary)


@pytest.mark.parametrize(
    ("check", "level", "changes"), [w[1:] for w in WRONG_LINKS], ids=[w[0] for w in WRONG_LINKS]
)
def test_a_wrong_link_is_seen(check, level, changes):
    summary = judged(linked(link(**changes)))
    assert (check, level) in counted(summary)
    assert summary.exit_code == (0 if level == "suspect" else 5)


LINK_TEXTS: list[tuple[str, dict[str, Any], str]] = [
    ("link_loss", {"measured": seen(probe(40.2), probe(40.2, lost=3))}, "3 of 800 probes lost, 0 % of round trips requested: they differ with a confidence of 100 % (limit 99.99 %)"),
    ("link_delay", {"measured": seen(probe(40.2), probe(43.0))}, "median round trip 43.0 ms after the load, 40 ms requested: off by 3.00 ms = 7.50 % (limit 1 ms and 5 % of the request)"),
    ("delayline_lateness", {"counters": counting(lateness_us=late(4000))}, "in the delay line of server eth1, lateness p99 4.00 ms (limit 3 ms)"),
    ("link_drops", {"counters": counting(dropped_user=7)}, "7 packets dropped by the full queue of server eth1 (limit 0)"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "changes", "text"), LINK_TEXTS, ids=[text[0] for text in LINK_TEXTS])
def test_the_limit_stands_behind_what_it_limits(check, changes, text):
    assert [f.says for f in judged(linked(link(**changes))).findings if f.check == check and text in f.says]


def test_a_link_that_vanished_from_the_record_is_unknown():
    summary = judged(replace(linked(link()), links=()))
    assert ("link_delay", "unknown") in counted(summary)
    assert summary.verdict == "INCONCLUSIVE"


def test_loss_is_held_against_its_binomial_interval():
    asked = {"delay_ms": 20.0, "loss": 0.01}
    fits = link(asked, measured=seen(probe(40.2, lost=9), probe(40.2, lost=8)))
    misses = link(asked, measured=seen(probe(40.2, lost=60), probe(40.2, lost=60)))
    assert not counted(judged(linked(fits)))
    assert ("link_loss", "invalid") in counted(judged(linked(misses)))


def test_drops_that_netem_counts_with_its_losses_are_told_apart():
    asked = {"delay_ms": 20.0, "loss": 0.01}
    measured = seen(probe(40.2, lost=9), probe(40.2, lost=8))
    unknown = {"dropped_queue": None, "dropped_asked": None, "lateness_us": None}
    fits = link(asked, backend="netem", measured=measured, counters=counting(dropped=905, **unknown))
    more = link(asked, backend="netem", measured=measured, counters=counting(dropped=2000, **unknown))
    assert not counted(judged(linked(fits)))
    assert ("link_drops", "invalid") in counted(judged(linked(more)))


def test_a_full_queue_accuses_the_link_and_not_the_server():
    failed, waited = records.N // 4, {"timeout": {"count": records.N // 4}}
    stats = tuple(line.replaced(open_peak=800) for line in trial().server_stats)
    peak = {
        ("server", "server", "open_peak"): records.counter(800, 0),
        ("worker-0", "sockets", "syn_retransmits"): records.counter(0, 9),
    }
    for told in ({"dropped_queue": 680}, {"dropped_queue": None, "dropped": 680, "dropped_asked": None}):
        full = linked(link(counters=counting(**told)))
        full = records.with_load(
            full, answered=records.N - failed, failed=failed, errors=waited, queued_end=5000
        )
        found = judged(replace(full, server_stats=stats, series=series(peak))).findings
        blamed = {f.check: f.do for f in found if f.level == "invalid" or f.check == "kernel_counters"}
        assert blamed.pop("link_drops") == "raise the link's `limit` above packet rate × delay"
        assert {"errors", "kernel_counters"} <= blamed.keys()
        assert "known_limit" not in {f.check for f in found}
        assert not any("server did not keep up" in f.says for f in found)
        for check in ("errors", "kernel_counters"):
            assert blamed[check].startswith("first raise the `limit` of the link")


def test_a_rate_link_drops_by_design():
    asked = {"delay_ms": 20.0, "rate_bit_per_s": 1e7}
    full = link(asked, counters=counting(dropped_queue=500))
    summary = judged(linked(full))
    assert counted(summary) == {("link_rate", "unknown")}
    assert "dropped 500 packets at its rate" in next(f.says for f in summary.findings if f.expected)
    assert summary.verdict == "PASS"
    measured = {**link()["measured"], "rate_bit_per_s": 8e6}
    assert ("link_rate", "invalid") in counted(judged(linked(link(asked, measured=measured))))


def test_after_timed_changes_only_the_probes_before_count():
    changed = link(measured=seen(probe(40.2), probe(90.0)), changes=[CHANGE])
    assert not counted(judged(linked(changed)))


def test_each_way_may_differ():
    asked = {"there": {"delay_ms": 30.0}, "back": {"delay_ms": 10.0}}
    assert not counted(judged(linked(link(asked))))


def test_retransmits_after_a_partition_are_expected():
    cut = link(changes=[{**CHANGE, "there": {"loss": 1.0}, "back": {"loss": 1.0}}])
    busy = series({("server", "sockets", "retransmits"): records.counter(0, 50)})
    assert not counted(judged(replace(linked(cut), series=busy)))
    assert counted(judged(replace(linked(link(changes=[CHANGE])), series=busy)))


def test_retransmits_on_a_lossy_link_are_expected():
    asked = {"delay_ms": 20.0, "loss": 0.01}
    lossy = link(asked, measured=seen(probe(40.2, lost=9), probe(40.2, lost=8)))
    busy = series({("server", "sockets", "retransmits"): records.counter(0, 50)})
    assert not counted(judged(replace(linked(lossy), series=busy)))
