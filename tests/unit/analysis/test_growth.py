"""Sweeps: curves of what was measured, and the law of their growth."""

import random
from dataclasses import replace

import pytest

from lab.analysis.growth import curves, fit, growth, position
from lab.analysis.model import Finding
from lab.analysis.verdict import limited_trials
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.records import judged, trial, with_load, with_swarm

PLACES = (10, 100, 1000, 5000, 20_000)


def noisy(law, repeats: int = 3, noise: float = 0.03, seed: int = 1) -> dict[float, list[float]]:
    chance = random.Random(seed)
    return {x: [law(x) * chance.gauss(1, noise) for _ in range(repeats)] for x in PLACES}


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (lambda x: 6.9, "constant"),
        (lambda x: 6.0 + 0.011 * x, "linear"),
        (lambda x: 6.0 + 0.0001 * x, "linear"),
        (lambda x: 20.0 - 0.0006 * x, "falling"),
        (lambda x: 5.0 + 1e-6 * x * x, "neither"),
    ],
    ids=["flat", "select", "a third more", "falling", "quadratic"],
)
def test_the_law_of_known_growth(law, expected):
    found = growth(noisy(law))
    assert found is not None
    assert found.law == expected


def test_the_slope_and_its_interval():
    slope = 0.011
    held = 0
    for seed in range(200):
        found = growth(noisy(lambda x: 6.0 + slope * x, seed=seed))
        assert found is not None
        assert found.slope == pytest.approx(slope, rel=0.15)
        held += found.slope_ci95[0] <= slope <= found.slope_ci95[1]
    assert 180 <= held <= 200


def test_noise_as_large_as_the_growth_is_undetermined():
    found = growth(noisy(lambda x: 6.0 * (1 + 0.10 * x / 20_000), noise=0.08))
    assert found is not None
    assert found.law == "undetermined"


BUMP = {10: 1.0, 100: 1.0, 1000: 2.0, 5000: 1.0, 20_000: 1.0}


@pytest.mark.parametrize(("repeats", "expected"), [(1, "undetermined"), (3, "neither")])
def test_a_bump_is_told_from_noise_only_where_trials_repeat(repeats, expected):
    found = growth(noisy(BUMP.get, repeats=repeats))
    assert found is not None
    assert found.law == expected


@pytest.mark.parametrize("repeats", [1, 3])
def test_noise_around_a_constant_is_seldom_called_a_curve(repeats):
    laws = [growth(noisy(lambda _: 9.0, repeats=repeats, noise=0.25, seed=seed)) for seed in range(200)]
    assert sum(found.law == "neither" for found in laws if found) <= 20


def test_two_places_make_no_law():
    assert growth({10: [1.0, 1.1, 1.0], 100: [2.0, 2.1]}) is None
    with pytest.raises(ValueError, match="3 places"):
        fit({1: [1, 1], 2: [2, 2]})


def test_points_in_line_have_no_width():
    found = growth({x: [3.0 + 2.0 * x] for x in (1, 2, 3, 4)})
    assert found is not None
    assert found.slope == pytest.approx(2.0)
    assert found.slope_ci95 == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (100, 100.0),
        ("20ms", 0.02),
        ("64KiB", 65536.0),
        ("2000/s", 2000.0),
        ("1%", 0.01),
        ({"file": "1KiB"}, 1024.0),
        ("sleep:10ms", 0.01),
        ("epoll_lt", None),
        (True, None),
        (None, None),
    ],
)
def test_where_a_swept_value_stands(value, expected):
    assert position(value) == expected


def swept(users: int, cpu_us: float, repeat: int = 1) -> TrialRecord:
    made = trial(f"epoll_lt,users={users}/{repeat}", point={"swarm.users": users})
    made = with_load(with_swarm(made, users=users), connected_peak=users)
    peak = {("server", "server", "open_peak"): records.counter(users, 0)}
    cpu = {("server", "cgroup", "cpu_us"): records.counter(1, cpu_us * records.RATE)}
    stats = tuple(s.replaced(open_peak=users) for s in made.server_stats)
    return replace(made, series=records.series(peak | cpu), server_stats=stats)


def test_a_sweep_becomes_curves_over_valid_trials():
    trials = [
        swept(users, 100 + users / 100, repeat) for users in (100, 1000, 5000, 10_000) for repeat in (1, 2)
    ]
    trials[0] = with_load(trials[0], connected_peak=1)
    summary = judged(*trials)
    cpu = next(c for c in summary.curves if c.metric == "cpu_us_per_request")
    assert (cpu.server, cpu.path, cpu.unit) == ("epoll_lt", "swarm.users", "µs")
    assert [(p.x, p.trials) for p in cpu.points] == [(100, 1), (1000, 2), (5000, 2), (10_000, 2)]
    assert cpu.points[-1].value == pytest.approx(200)
    assert cpu.growth is not None
    assert cpu.growth.law == "linear"
    assert cpu.growth.slope == pytest.approx(0.01)
    p50 = next(c for c in summary.curves if c.metric == "response_p50_ms")
    assert p50.growth is not None
    assert p50.growth.law == "constant"


def test_trials_at_a_limit_of_the_server_are_no_points():
    seen = {users: judged(swept(users, 100)).servers for users in (100, 1000, 3000, 10_000)}
    servers = [server for one in seen.values() for server in one.values()]
    found = [*curves(servers, (), {"epoll_lt,users=3000/1", "epoll_lt,users=10000/1"})]
    assert [(p.x, c.limit_met_at) for c in found for p in c.points if c.metric == "cpu_us_per_request"] == [
        (100, 3000),
        (1000, 3000),
    ]


def test_a_limit_that_is_met_at_every_value_ends_no_curve():
    seen = [judged(swept(users, 100)).servers.values() for users in (100, 1000)]
    limited = {"epoll_lt,users=100/1", "epoll_lt,users=1000/1"}
    found = [*curves([server for one in seen for server in one], (), limited)]
    cpu = next(c for c in found if c.metric == "cpu_us_per_request")
    assert ([p.x for p in cpu.points], cpu.limit_met_at) == ([100, 1000], None)


def test_a_known_limit_makes_a_trial_a_limited_one():
    met = Finding(check="known_limit", level="ok", trial="select/1", says="", value=1020, expected=True)
    not_met = Finding(check="known_limit", level="suspect", trial="select/2", says="")
    other = Finding(check="steady", level="suspect", trial="select/3", says="", value=1)
    assert limited_trials([met, not_met, other]) == {"select/1"}


def test_without_a_sweep_there_are_no_curves():
    assert judged(trial()).curves == ()
