"""What the server counted, per request that it counted: both from the same two statistics lines.

The server is asked for a line at each mark. Whenever it answers, all counters of that line are of one moment,
so their ratios need no window; how late it was is no error of theirs. A server that cannot be asked prints
a line a second: then both are interpolated to the same moment.
"""

from __future__ import annotations

from lab.analysis.groups import parts
from lab.analysis.limits import SERVER
from lab.results.node import MarkName
from lab.results.record import Series, TrialRecord

Span = tuple[float, float]
# The kernel's count of calls is read before and after each of the server's lines. What was counted between
# the two readings is known only as a sum: beyond this share of the warm-up there is no figure.
MOST_BETWEEN = 0.01


def lines(trial: TrialRecord, first: MarkName, last: MarkName) -> Span | None:
    """Return the times of the server's lines that answered at two marks; None where one is missing."""
    begin, end = (trial.taken_ms(mark, "server") for mark in (first, last))
    return None if begin is None or end is None else (begin, end)


def window(trial: TrialRecord) -> Span:
    """Return the times of the server's lines at the ends of the window, or else these ends."""
    assert trial.load is not None
    return lines(trial, "measure", "end") or trial.load.window_ms


def grown(trial: TrialRecord, counter: str, span: Span) -> float | None:
    """Return how much one of the server's own counters grew; None where it was not told."""
    return trial.series.increase(SERVER, "server", counter, span)


def requests(trial: TrialRecord, span: Span) -> float | None:
    """Return the requests that the server counted; a page is one, though the server counts its resources."""
    counted, each = grown(trial, "requests", span), _resources(trial)
    return None if counted is None or not each else counted / each


def _resources(trial: TrialRecord) -> float:
    """Return how many resources a request has: more than one on pages; a mean over groups that differ."""
    done = total = 0
    for part in parts(trial).values():
        page = part.scenario.swarm.page
        answers = part.load.result.done if part.load else 0
        done += answers
        total += answers * (len(page.paths) if page else 1)
    return total / done if done else 0.0


def calls_per_request(trial: TrialRecord) -> dict[str, float]:
    """Return the system calls of the warm-up per request, by name, most frequent first.

    Counting them costs the server, so it stops as the window opens.
    """
    counted = _calls(trial)
    span, answered = _warmup(trial, counted)
    found = {}
    for node, source, metric in counted.points:
        grew = counted.increase(node, source, metric, span)
        if grew and answered:
            found[metric] = grew / answered
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _warmup(trial: TrialRecord, calls: Series) -> tuple[Span, float | None]:
    """Return the span of the warm-up, and the requests answered in it: the server's count if it was asked."""
    assert trial.load is not None
    span = lines(trial, "warmup", "measure")
    if span is not None:
        between_ms = sum(calls.gap_ms(*key, ms) for key in list(calls.points)[:1] for ms in span)
        known = between_ms <= MOST_BETWEEN * (span[1] - span[0])
        return span, requests(trial, span) if known else None
    phases = trial.load.phases
    if (trial.ready and trial.ready.stats_signal) or phases.warmup is None or phases.measure is None:
        return (0.0, 0.0), None
    answered = sum(second.done for second in trial.load.seconds if second.phase == "warmup")
    return (phases.warmup, phases.measure), answered


def _calls(trial: TrialRecord) -> Series:
    """Return the counts of calls, with the zeros of samples that were taken before a call was first made."""
    keys = [key for key in trial.series.points if key[:2] == (SERVER, "syscalls")]
    moments = sorted({ms for key in keys for ms, _ in trial.series.points[key]})
    filled = Series()
    for key in keys:
        made = trial.series.points[key]
        filled.points[key] = [*((ms, 0.0) for ms in moments if ms < made[0][0]), *made]
    return filled
