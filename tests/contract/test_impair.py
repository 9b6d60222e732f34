"""One suite for every backend of lab/impair, over real packets between network namespaces.

On a kernel without netem its part is skipped here; tests/uml runs this same file on a kernel that has it.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab.common.errors import HostCannot, LabError, UsageError
from lab.impair import BACKENDS
from lab.impair.apply import applied
from lab.impair.helper import Helper
from lab.impair.link import Egress, Link
from lab.results.link import Directions
from lab.scenario.impairment import Impairment
from testbed.namespaces import Namespaces, namespaces, overtakers, run
from tests.support.impair_flows import (
    EARLY_MS,
    IDLE_S,
    LATE_MS,
    UNTOUCHED,
    counters,
    fastest_ms,
    flow,
    link,
    measured,
    share_bounds,
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.alone,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Namespaces]:
    with namespaces(tmp_path_factory.mktemp("helpers")) as made:
        yield made


@pytest.fixture(scope="module", params=["netem", "delayline"])
def backend(request: pytest.FixtureRequest, net: Namespaces) -> str:
    reason = BACKENDS[request.param].unsupported([UNTOUCHED], Helper(net, "a").capabilities, 1)
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    name: str = request.param
    return name


def test_delay_is_as_requested_in_each_direction(net: Namespaces, backend: str) -> None:
    with applied(net, [link(net, Impairment(delay_ms=30), Impairment(delay_ms=10))], backend) as links:
        found = measured(links)
        record = links.records()[0]
    assert found.rtt_min_ms == pytest.approx(40, abs=LATE_MS)
    assert found.loss == 0
    assert record.configured["a eth0"].delay_ms == pytest.approx(30)
    assert record.configured["b eth0"].delay_ms == pytest.approx(10)
    assert record.requested == Directions(Impairment(delay_ms=30), Impairment(delay_ms=10))
    assert record.counters["a eth0"].dropped == 0
    assert (record.backend, record.stamp) == (backend, BACKENDS[backend].stamp)


def test_a_delay_stays_exact_beside_loss(net: Namespaces, backend: str) -> None:
    lossy = Impairment(delay_ms=20, loss=0.01, seed=5)
    least_ms = 40 if backend == "netem" else 40 - 2 * EARLY_MS
    with applied(net, [link(net, lossy, lossy)], backend) as links:
        links.probe("before")
        assert least_ms <= fastest_ms(links, "before")[0] < 43


def test_everything_is_cleared(net: Namespaces, backend: str) -> None:
    before = net.state("a"), net.state("b")
    with applied(net, [link(net, Impairment(delay_ms=30, loss=0.1))], backend):
        assert net.state("a") != before[0]
    assert (net.state("a"), net.state("b")) == before
    with applied(net, [link(net, UNTOUCHED)], "none") as links:
        links.probe("before")
        assert fastest_ms(links, "before")[0] < 10


def test_everything_is_cleared_after_an_error(net: Namespaces, backend: str) -> None:
    before = net.state("a")
    with pytest.raises(ZeroDivisionError), applied(net, [link(net, Impairment(delay_ms=5))], backend):
        raise ZeroDivisionError
    assert net.state("a") == before


@pytest.mark.parametrize(
    "impairment",
    [
        Impairment(delay_ms=2, loss=0.2, seed=5),
        Impairment(delay_ms=2, loss_gemodel=(0.1, 0.4, 0.9, 0.0), seed=6),
        Impairment(delay_ms=2, loss_state=(0.1, 0.5, 0.2, 0.4, 0.05), seed=7),
        Impairment(delay_ms=2, corrupt=0.2, seed=8),
    ],
    ids=["random", "gemodel", "state", "corrupt"],
)
def test_loss_is_as_requested(net: Namespaces, backend: str, impairment: Impairment) -> None:
    count = 1000
    with applied(net, [link(net, impairment)], backend) as links:
        seen = flow(net, count, 500)
        counted = counters(links)
    lost = 1 - len(seen["numbers"]) / count
    expected = impairment.loss_share + impairment.corrupt
    low, high = share_bounds(expected, count)
    # Bursts correlate neighbours, which widens the spread of the mean: a factor of two covers these models.
    bursts = 1.0 if impairment.loss or impairment.corrupt else 2.0
    assert expected - (expected - low) * bursts <= lost <= expected + (high - expected) * bursts
    if backend == "delayline":
        assert counted.dropped_asked == (0 if impairment.corrupt else count - len(seen["numbers"]))
        assert counted.dropped_queue == counted.dropped_user == 0


def test_a_partition_begins_and_ends(net: Namespaces, backend: str) -> None:
    with applied(net, [link(net, Impairment(delay_ms=1))], backend) as links:
        links.change(0, Directions(Impairment(delay_ms=1, loss=1.0)))
        assert measured(links).loss == 1.0
        links.change(0, Directions(Impairment(delay_ms=1)))
        assert measured(links).loss == 0.0


@pytest.mark.parametrize("distribution", ["uniform", "normal", "pareto"])
def test_jitter_spreads_the_delay_and_keeps_the_order(
    net: Namespaces, backend: str, distribution: Any
) -> None:
    jitter = Impairment(delay_ms=20, jitter_ms=4, distribution=distribution, seed=3)
    with applied(net, [link(net, jitter)], backend):
        # 10 ms apart, more than most deviations: keeping the order hardly changes the delays
        seen = flow(net, 80, 10_000)
        close = flow(net, 500, 200)
    assert seen["numbers"] == sorted(seen["numbers"])
    assert close["numbers"] == list(range(500))
    delays = seen["delays_ms"]
    early, middle, late = (sorted(delays)[len(delays) * part // 10] for part in (1, 5, 9))
    assert middle == pytest.approx(20, abs=1 + LATE_MS)
    assert 2 < late - early < 20


def test_reorder_sends_its_share_ahead(net: Namespaces, backend: str) -> None:
    count = 600
    with applied(net, [link(net, Impairment(delay_ms=10, reorder=0.25, seed=4))], backend):
        seen = flow(net, count, 1000)
    low, high = share_bounds(0.25, count)
    assert low <= len(overtakers(seen["numbers"])) / count <= high
    assert sorted(seen["numbers"]) == list(range(count))
    assert seen["numbers"] != sorted(seen["numbers"])


def test_reorder_gap_takes_every_nth(net: Namespaces, backend: str) -> None:
    with applied(net, [link(net, Impairment(delay_ms=20, reorder=1.0, reorder_gap=5))], backend):
        seen = flow(net, 100, 1000)
    early = overtakers(seen["numbers"])
    assert len(early) == 20
    assert {b - a for a, b in itertools.pairwise(early)} == {5}


def test_duplicate_doubles_its_share(net: Namespaces, backend: str) -> None:
    count = 600
    with applied(net, [link(net, Impairment(delay_ms=5, duplicate=0.3, seed=9))], backend):
        seen = flow(net, count, 500)
    low, high = share_bounds(0.3, count)
    assert low <= len(seen["numbers"]) / count - 1 <= high
    assert set(seen["numbers"]) == set(range(count))


def test_the_rate_is_as_requested(net: Namespaces, backend: str) -> None:
    with applied(net, [link(net, Impairment(delay_ms=5, rate_bit_per_s=1e6, limit_packets=1000))], backend):
        seen = flow(net, 60, 100, size=1000)
    seconds = seen["times"][-1] - seen["times"][0]
    frame_bits = (1000 + 28 + 14) * 8
    assert len(seen["numbers"]) == 60
    found_bit_per_s = (len(seen["times"]) - 1) * frame_bits / seconds
    assert 0.8e6 < found_bit_per_s < 1.05e6  # a busy machine may delay packets, but never speed them up


def test_a_full_queue_drops_and_counts_and_no_packet_is_early(net: Namespaces, backend: str) -> None:
    with applied(net, [link(net, Impairment(delay_ms=100, limit_packets=50))], backend) as links:
        seen = flow(net, 400, 100)
        counted = counters(links)
    assert (counted.dropped_queue or 0) + counted.dropped_user == 400 - len(seen["numbers"]) > 0
    assert min(seen["delays_ms"]) > 99.5
    assert counted.held == 0


def test_different_peers_get_different_links(net: Namespaces, backend: str) -> None:
    links = [
        link(net, Impairment(delay_ms=30), to="b", peers=True),
        link(net, Impairment(delay_ms=10), to="c", peers=True),
    ]
    with applied(net, links, backend) as impaired:
        impaired.probe("before")
        to_b, to_c = fastest_ms(impaired, "before")
        assert (to_b, to_c) == (pytest.approx(30, abs=LATE_MS), pytest.approx(10, abs=LATE_MS))
        impaired.change(0, Directions(Impairment(delay_ms=50)))
        impaired.probe("after")
        after = fastest_ms(impaired, "after")
        assert after == [pytest.approx(50, abs=LATE_MS), pytest.approx(10, abs=LATE_MS)]


def test_one_peer_beside_everyone_else(net: Namespaces, backend: str) -> None:
    links = [
        link(net, Impairment(delay_ms=5), to="c"),
        link(net, Impairment(delay_ms=25), to="b", peers=True),
    ]
    with applied(net, links, backend) as impaired:
        impaired.probe("before")
        to_c, to_b = fastest_ms(impaired, "before")
    assert (to_c, to_b) == (pytest.approx(5, abs=LATE_MS), pytest.approx(25, abs=LATE_MS))


def test_a_change_is_on_time_and_loses_nothing(net: Namespaces, backend: str) -> None:
    with applied(net, [link(net, Impairment(delay_ms=20))], backend) as links:
        receiver = net.begin("b", "receive", IDLE_S)
        sender = net.begin("a", "send", net.address("b"), 1000, 1000, 100)
        wanted_ms = time.monotonic_ns() / 1e6 + 600
        change = links.change(0, Directions(Impairment(delay_ms=60)), at_mono_ms=wanted_ms)
        seen = net.seen(receiver, sender)
        links.read()
        assert links.records()[0].configured["a eth0"].delay_ms == pytest.approx(60)
    assert seen["numbers"] == list(range(1000))
    sent_ms = [at * 1e3 - delay for at, delay in zip(seen["times"], seen["delays_ms"], strict=True)]
    last_fast = max(s for s, delay in zip(sent_ms, seen["delays_ms"], strict=True) if delay < 40)
    # On a busy machine the sender is starved too: the change may be that much later.
    starved_ms = max(b - a for a, b in itertools.pairwise(sent_ms))
    assert -20 - 2 * starved_ms < last_fast - wanted_ms < 50 + 2 * starved_ms
    assert change.wanted_mono_ms == wanted_ms <= change.applied_mono_ms


def test_shortening_a_delay_keeps_the_order(net: Namespaces, backend: str) -> None:
    with applied(net, [link(net, Impairment(delay_ms=100))], backend) as links:
        receiver = net.begin("b", "receive", IDLE_S)
        sender = net.begin("a", "send", net.address("b"), 1000, 1000, 100)
        links.change(0, Directions(Impairment(delay_ms=5)), at_mono_ms=time.monotonic_ns() / 1e6 + 300)
        seen = net.seen(receiver, sender)
    assert seen["numbers"] == list(range(1000))
    assert min(seen["delays_ms"]) < 50 < max(seen["delays_ms"])


@pytest.mark.parametrize(
    "impairment",
    [
        Impairment(delay_ms=5),
        Impairment(delay_ms=5, jitter_ms=2, loss=0.01, corrupt=0.005, duplicate=0.02, seed=2),
        Impairment(delay_ms=5, rate_bit_per_s=50e6),
    ],
    ids=["constant", "random", "rate"],
)
def test_bulk_tcp_arrives_whole(net: Namespaces, backend: str, impairment: Impairment) -> None:
    with applied(net, [link(net, impairment)], backend):
        seen = net.flow(["bulk_receive"], ["bulk_send", net.address("b"), 1_000_000])
    assert seen["intact"]
    assert seen["bytes"] == 1_000_000
    if impairment.rate_bit_per_s:
        assert seen["bytes"] * 8 / seen["seconds"] < impairment.rate_bit_per_s * 1.05


def test_a_vanished_rule_is_reported(net: Namespaces, backend: str) -> None:
    with applied(net, [link(net, Impairment(delay_ms=5))], backend) as links:
        inside = ["ip", "netns", "exec", net.namespace("a")]
        if backend == "netem":
            run(*inside, "tc", "qdisc", "del", "dev", "eth0", "root")
        else:
            run(*inside, "iptables", "-t", "raw", "-F", "OUTPUT")
        with pytest.raises(LabError, match="vanished"):
            links.probe("before")
        links.probe("after")
        assert "vanished" in links.records()[0].problems[0]
        _put_back(inside, backend)


def _put_back(inside: list[str], backend: str) -> None:
    """Restore the rule, so that clearing it does not fail: that is not what is tested here."""
    if backend == "netem":
        run(*inside, "tc", "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "netem", "delay", "5ms")
        return
    queue_rows = run(*inside, "cat", "/proc/net/netfilter/nfnetlink_queue").split()
    rule = ["-o", "eth0", "-m", "mark", "!", "--mark", "0x1ab", "-j", "NFQUEUE", "--queue-num", queue_rows[0]]
    run(*inside, "iptables", "-t", "raw", "-A", "OUTPUT", *rule)


def test_impossible_links_are_refused(net: Namespaces, backend: str) -> None:
    nowhere = Link(("a", "b"), Directions(), (Egress("a", "control"),))
    with (
        pytest.raises(HostCannot, match="no interface of its own on control"),
        applied(net, [nowhere], backend),
    ):
        pass
    twice = [link(net, Impairment(delay_ms=1)), link(net, Impairment(delay_ms=2), to="c")]
    with pytest.raises(UsageError, match="two links impair what leaves a"), applied(net, twice, backend):
        pass
