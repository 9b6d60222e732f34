"""Counts per request: both sides from the same lines of the server; the kernel's count read beside them."""

from dataclasses import replace

import pytest

from lab.analysis import counted
from lab.analysis.figures import figures
from lab.analysis.summary import NO_COOLDOWN
from lab.results.node import Mark
from tests.support.records import START_MS, WINDOW_MS, counter, judged, series, trial, with_swarm

LATE_MS = 30.0
ASKED = {"warmup": START_MS, "measure": WINDOW_MS[0], "end": WINDOW_MS[1]}


def marked(record, late_ms=LATE_MS, source="server"):
    """The trial, with a source that was sampled late at all of its marks."""
    taken = {name: {source: at + late_ms} for name, at in ASKED.items()}
    marks = [Mark(what=name, asked_mono_ms=at, taken_mono_ms=taken[name]) for name, at in ASKED.items()]
    return replace(record, marks=tuple(marks))


def told(record, **counters):
    """The trial, whose server printed these counters; None: it never did."""
    return replace(record, series=series({("server", "server", name): c for name, c in counters.items()}))


def bursts(per_burst):
    """A counter that jumps in the middle of every tenth of a second, as a batch of requests does."""
    return [(START_MS - 3000 + 50 * i, per_burst * (i // 2)) for i in range(340)]


def test_counters_and_requests_are_of_the_same_lines():
    record = marked(told(trial(), wakeups=bursts(3), requests=bursts(6)))
    assert counted.window(record) == (WINDOW_MS[0] + LATE_MS, WINDOW_MS[1] + LATE_MS)
    assert figures(record).wakeups_per_request == 0.5


def test_a_server_that_cannot_be_asked_is_read_at_the_ends_of_the_window():
    assert counted.window(trial()) == WINDOW_MS


def test_a_server_that_does_not_tell_its_requests_has_no_figure_per_request():
    record = told(trial(), wakeups=counter(0, 500), requests=None)
    assert figures(record).wakeups_per_request is None


def test_a_page_is_one_request_however_many_resources_the_server_counts():
    record = told(marked(trial()), wakeups=counter(0, 500), requests=counter(5, 2000))
    assert figures(record).wakeups_per_request == pytest.approx(0.25)
    page = with_swarm(record, page={"paths": ["/", "/json"]})
    assert figures(page).wakeups_per_request == pytest.approx(0.5)


def calls(*samples):
    """System calls at these moments: (milliseconds after the start of the warm-up, reads, polls)."""
    reads = [(START_MS + at, count) for at, count, _ in samples]
    polls = [(START_MS + at, count) for at, _, count in samples if count]
    requests = [(START_MS, 5.0), (START_MS + LATE_MS, 5.0 + LATE_MS), (START_MS + 2030, 5.0 + 2030)]
    return series(
        {
            **{("server", "syscalls", name): None for name in ("epoll_wait", "write", "accept4")},
            ("server", "syscalls", "read"): reads,
            ("server", "syscalls", "poll"): polls,
            ("server", "server", "requests"): requests,
        }
    )


def test_system_calls_are_set_against_the_requests_that_the_server_counted_then():
    seen = calls((25, 30, 0), (35, 40, 15), (2025, 2030, 1010), (2035, 2040, 1020))
    found = counted.calls_per_request(marked(replace(trial(), series=seen)))
    assert found == {"read": pytest.approx(1.0), "poll": pytest.approx(1007.5 / 2000)}
    assert list(found) == ["read", "poll"]


def test_system_calls_that_were_not_read_beside_the_line_tell_nothing():
    seen = calls((20, 25, 0), (40, 45, 20), (2000, 2005, 1000), (2040, 2045, 1020))
    assert counted.calls_per_request(marked(replace(trial(), series=seen))) == {}


def test_an_end_of_the_window_that_was_sampled_late_is_doubted():
    late = judged(marked(trial(), 60.0, "cgroup"))
    says = [f.says for f in late.findings if f.check == "sampling"]
    assert says == [
        "cgroup was sampled 60 ms after the start of the window (limit 50 ms)",
        "cgroup was sampled 60 ms after the end of the window (limit 50 ms)",
    ]


@pytest.mark.parametrize(("late_ms", "source"), [(40.0, "cgroup"), (500.0, "server"), (60.0, "pss")])
def test_a_late_line_or_gauge_is_not_doubted(late_ms, source):
    record = told(trial(), requests=counter(5, 2000))
    assert judged(marked(record, late_ms, source)).findings == ()


def test_a_load_that_ends_with_its_window_is_stamped():
    phases = {"warmup": 2.0, "measure": 10.0}
    stamps = [
        judged(with_swarm(trial(), phases={**phases, "cooldown": cooldown})).stamps for cooldown in (0.0, 1.0)
    ]
    assert [NO_COOLDOWN in found for found in stamps] == [True, False]
