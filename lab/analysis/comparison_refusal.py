"""Why a comparison can decide nothing: another machine or load, no pair of trials, too few, or too blunt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lab.analysis.comparison_model import HeadComparison, MetricRow
from lab.analysis.statistics import DEFAULT_PAIRS, fewest_pairs
from lab.results.fact_labels import label


def refusal(head: HeadComparison, detect: float | None) -> str | None:
    """Return why the pairs of one head can decide nothing, and what would be right; None if they can.

    Args:
        head: The comparison of one head with the base.
        detect: The worsening that must be visible (0.2 is 20 %), if any.
    """
    return next(filter(None, _causes(head, detect)), None)


def labels(facts: Iterable[str]) -> str:
    """Return what people read for dotted names, as a list."""
    return ", ".join(map(label, facts))


def _causes(head: HeadComparison, detect: float | None) -> Iterator[str | None]:
    """In order: each is asked only where none before holds, and may rely on that."""
    yield _not_alike(head)
    yield _without_pair(head)
    yield _not_measured(head)
    yield _too_few_pairs(head)
    if detect is not None:
        yield _not_sharp_enough(head, detect)


def _not_alike(head: HeadComparison) -> str | None:
    if not head.blocked:
        return None
    few = labels(head.blocked[:3]) + (" …" if len(head.blocked) > 3 else "")
    scenario = next(
        (f" ({drift.base}, {drift.head})" for drift in head.drift if drift.fact == "scenario"), ""
    )
    return (
        f"{head.head} cannot be compared with the base{scenario}, for these differ: {few}; "
        "compare runs of one scenario, with one load, on one machine"
    )


def _without_pair(head: HeadComparison) -> str | None:
    if not head.servers:
        return "no server, at the same sweep point, is in both runs: compare runs of one scenario"
    alone = [server.server for server in head.servers if not server.pairs]
    if not alone:
        return None
    return (
        f"{', '.join(alone)}: no repeat has a valid trial of both base and head: "
        "`lab report RUN` tells what was wrong with the trials"
    )


def _gated_rows(head: HeadComparison) -> list[MetricRow]:
    return [row for server in head.servers for row in server.metrics if row.gated]


def _not_measured(head: HeadComparison) -> str | None:
    gated = _gated_rows(head)
    missing = sorted({row.metric for row in gated if not row.pairs})
    if gated and not missing:
        return None
    known = dict.fromkeys(row.metric for server in head.servers for row in server.metrics if row.pairs)
    what = ", ".join(missing) or "a metric that decides"
    others = f"; measured: {', '.join(known)} (--metric)" if known else ""
    return f"no pair of trials has {what}: not measured, or too few samples in a trial{others}"


def _too_few_pairs(head: HeadComparison) -> str | None:
    gated = _gated_rows(head)
    fewest, needed = min(row.pairs for row in gated), fewest_pairs(len(gated))
    if fewest >= needed:
        return None
    pairs, metrics = _plural(fewest, "valid pair"), _plural(len(gated), "metric")
    return (
        f"{pairs} cannot decide {metrics}: at least {needed} are needed, "
        f"so run with --set repeat={max(needed, DEFAULT_PAIRS)}"
    )


def _not_sharp_enough(head: HeadComparison, detect: float) -> str | None:
    for row in _gated_rows(head):
        if row.mde is None or row.mde - 1 > detect:
            seen = "nothing" if row.mde is None else f"{row.mde - 1:.1%} or more"
            return (
                f"{row.metric}: these pairs can detect {seen}, not the {detect:.1%} asked for: "
                "measure more repeats, on a quieter host"
            )
    return None


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
