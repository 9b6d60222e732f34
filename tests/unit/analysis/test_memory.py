"""Memory per connection: from before the ramp to the window, and what is said beside it."""

from dataclasses import replace

import pytest

from lab.analysis.figures import figures
from lab.analysis.model import ServerSummary
from lab.common.figures import BY_NAME
from lab.report.content import text
from tests.support.records import PHASES, USERS, WINDOW_MS, judged, series, trial, with_load, with_swarm

GROUP, OWN = ("server", "cgroup", "memory_bytes"), ("server", "pss", "bytes")
BEFORE, STARTS = 2e7, WINDOW_MS[0]
GROWN = 50_000.0  # bytes per connection


def held(at_window_start: float, at_window_end: float, before: float = BEFORE) -> list[tuple[float, float]]:
    """What the server holds, in bytes per connection beyond what it held before the ramp."""
    ramp = PHASES["spawn"]
    values = [(ramp - 500, before - 5e6), (ramp - 10, before)]  # verification has run in between
    return [
        *values,
        (WINDOW_MS[0], before + USERS * at_window_start),
        (WINDOW_MS[1], before + USERS * at_window_end),
    ]


def seen(key=GROUP, values=(GROWN, GROWN), t=None):
    return figures(replace(t or trial(), series=series({key: held(*values)})))


@pytest.mark.parametrize(
    ("key", "name"), [(GROUP, "memory_bytes_per_connection"), (OWN, "pss_bytes_per_connection")]
)
def test_it_is_the_growth_since_just_before_the_ramp(key, name):
    found = seen(key)
    assert getattr(found, name) == pytest.approx(GROWN)
    assert name not in found.marks


def test_a_figure_that_still_moves_is_marked_and_the_run_is_not():
    found = seen(values=(GROWN, GROWN * 1.08))
    assert found.memory_bytes_per_connection == pytest.approx(GROWN * 1.08)
    assert found.marks == {"memory_bytes_per_connection": "still moving: +8 % in 10s"}
    shown = text.cell(found, BY_NAME["memory_bytes_per_connection"])
    assert shown == "52.7 KiB (still moving: +8 % in 10s)"
    moved = judged(replace(trial(), series=series({GROUP: held(GROWN, GROWN * 1.08)})))
    assert (moved.verdict, moved.findings) == ("PASS", ())
    (server,) = moved.servers.values()
    assert isinstance(server, ServerSummary)
    assert server.marks == found.marks


def test_a_load_that_ramps_moves_it_by_design():
    ramps = {"executor": "ramping-users", "stages": [{"duration": 10, "target": USERS}], "think_time": 0.0}
    assert seen(values=(GROWN, GROWN * 2), t=with_swarm(trial(), load=ramps)).marks == {}


def test_a_window_in_which_not_every_connection_was_used_says_so():
    few = {"intended": 500, "sent": 500, "answered": 500, "failed": 0, "unsent": 0, "connects": USERS}
    found = seen(t=with_load(trial(), whole=few))
    assert found.marks == {"memory_bytes_per_connection": "not every connection was used"}
    idle = with_swarm(trial(), clients={"idle": 0.5})
    assert seen(t=with_load(idle, whole=few)).marks == {}


def test_own_memory_stands_where_the_control_group_was_not_read():
    found = seen(OWN).model_copy(update={"memory_bytes_per_connection": None})
    assert text.cell(found, BY_NAME["memory_bytes_per_connection"]) == "48.8 KiB"
