"""Was every user connected while the load was measured?"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator

from lab.analysis.checks.trial_view import NoData, Result, TrialView, graded
from lab.common.units import show_percent

# Users are started and stopped once a second (Locust's dispatch): a stage has its users a second later.
STAGE_SETTLES_S = 1.0


def connections_reached(view: TrialView) -> Iterable[Result]:
    """Compare the connections held in the window, on the client's side, with the users requested.

    Of the seconds that ask for all users, the one with the fewest at its end stands. Timed events may end
    connections: with them the median. A load that ramps without a plateau is judged by its highest second.
    """
    if view.swarm.one_exchange:
        return ()
    asked = view.swarm.load.max_users(view.swarm.users)
    held, when = _held(view, asked)
    return graded(
        "connections_reached",
        held / asked,
        f"{held:,} of {asked:,} users were connected {when}, {show_percent(held / asked)}",
        "see the connection errors and the server's log; raise connect-deadline or lower spawn-rate",
    )


def _held(view: TrialView, asked: int) -> tuple[int, str]:
    """Return how many connections were held, and when."""
    seconds = view.measured
    if not seconds:
        raise NoData("the seconds of the window are missing")
    if not all(second.lost_s for second in seconds):  # an earlier swarm: its gauge left out slow clients
        return view.result.connected_peak, "at once, at most"
    plateaus = list(_plateaus(view, asked))
    full = [s.connected for s in seconds if any(a <= _end_s(view, s.k) <= b for a, b in plateaus)]
    if not full:
        return max(s.connected for s in seconds), "at the peak of the ramp"
    if view.trial.events:
        return statistics.median_low(full), "in half of the window's seconds"
    return min(full), "throughout the window"


def _plateaus(view: TrialView, asked: int) -> Iterator[tuple[float, float]]:
    """Yield when the load asks for all its users, as begin and end in seconds of the window."""
    load, now = view.swarm.load, view.swarm.users
    stages = [(s.duration, s.target) for s in load.stages if isinstance(s.target, int)]
    begins_s, settled_s = 0.0, 0.0
    for duration_s, target in (
        *stages,
        (max(0.0, view.window_s - load.stages_s if stages else view.window_s), None),
    ):
        after = now if target is None else target
        if now == after == asked:
            yield begins_s + settled_s, begins_s + duration_s
        begins_s, now, settled_s = begins_s + duration_s, after, STAGE_SETTLES_S


def _end_s(view: TrialView, k: int) -> float:
    """Return when a second of the load clock ends, in seconds of the window: the last one may be cut."""
    return min(k + 1 - view.swarm.phases.warmup, view.window_s)
