"""Base against head: block-paired trials, one decision per gated metric, and what else differs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lab.analysis.comparison_model import Comparison, HeadComparison, MetricRow, ServerComparison
from lab.analysis.comparison_refusal import labels, refusal
from lab.analysis.env_diff import differences, several_machines
from lab.analysis.model import TrialFigures, figure_of, is_lower_bound, why_bound
from lab.analysis.statistics import (
    FEWEST_FOR_INTERVAL,
    Decision,
    Effect,
    decide,
    effect,
    holm,
    log_ratios,
    minimal_detectable,
)
from lab.analysis.summary import summarise
from lab.analysis.verdict import invalid_trials, judge
from lab.common.errors import Exit
from lab.common.figure import Figure
from lab.common.figures import FIGURES
from lab.results.record import Run


@dataclass(frozen=True)
class Metric:
    """A figure that is compared, and how: a change within its margin is none; `gate` says when it decides."""

    figure: Figure
    margin: float
    gate: Literal["always", "closed", "never"]

    @property
    def name(self) -> str:
        """The figure's name."""
        return self.figure.name

    @property
    def worse(self) -> Literal["higher", "lower"]:
        """Which direction is worse."""
        return "lower" if self.figure.better == "higher" else "higher"


# What decides comes first.
GATE_ORDER = ("always", "closed", "never")
METRICS = tuple(
    Metric(figure, figure.compared.margin, figure.compared.gate)
    for figure in sorted(
        FIGURES, key=lambda figure: GATE_ORDER.index(figure.compared.gate if figure.compared else "never")
    )
    if figure.compared
)
NAMES = tuple(metric.name for metric in METRICS)


@dataclass(frozen=True)
class Gate:
    """What a comparison has to decide. `metrics` None: those that decide by default and were measured.

    `detect` is the worsening (0.2 is 20 %) that must be visible; a gate that could not see it refuses.
    """

    metrics: tuple[str, ...] | None = None
    detect: float | None = None


@dataclass(frozen=True)
class Side:
    """The valid trials of one run: by server and sweep point, by repeat."""

    run: Run
    trials: Mapping[str, Mapping[int, TrialFigures]]
    closed: frozenset[str]

    @classmethod
    def of(cls, run: Run) -> Side:
        """Judge a run and keep what is valid."""
        summary = judge(run, summarise(run))
        invalid = invalid_trials(run, summary.findings)
        repeats = {trial.id: trial.repeat for trial in run.trials}
        trials = {
            name: {
                repeats[f.trial]: f for f in server.per_trial if f.status == "ok" and f.trial not in invalid
            }
            for name, server in summary.servers.items()
        }
        closed = frozenset(t.key.group for t in run.trials if t.scenario.swarm.load.is_closed)
        return cls(run, trials, closed)


def compare(base: Run, heads: Sequence[Run], gate: Gate | None = None) -> Comparison:
    """Compare base with each head, server by server, paired by repeat. Never raise for what the runs hold."""
    asked, first = gate or Gate(), Side.of(base)
    made = []
    for run in heads:
        head = Side.of(run)
        pairs = [(name, name) for name in first.trials if name in head.trials]
        made.append(_head(first, head, pairs, asked))
    return _conclude(base.id, made, asked)


def compare_within(run: Run, base: str, head: str, gate: Gate | None = None) -> Comparison:
    """Two servers of one run, whose trials were interleaved in blocks: the form that a gate should use."""
    return compare_alternatives(run, [(base, head)], gate)


def compare_alternatives(
    run: Run, alternatives: Iterable[tuple[str, str]], gate: Gate | None = None
) -> Comparison:
    """Several pairs of servers of one run, (base, head) each; Holm sees the metrics of all."""
    asked, side = gate or Gate(), Side.of(run)
    pairs = [
        (name, head + name[len(base) :])
        for base, head in alternatives
        for name in side.trials
        if (name == base or name.startswith(base + ",")) and head + name[len(base) :] in side.trials
    ]
    return _conclude(run.id, [_head(side, side, pairs, asked)], asked)


def _head(base: Side, head: Side, names: Sequence[tuple[str, str]], gate: Gate) -> HeadComparison:
    drift = tuple(differences(base.run, head.run))
    mixed = sorted({run.id for run in (base.run, head.run) if several_machines(run)})
    blocked = [fact.fact for fact in drift if fact.matters] + [f"the machines of {run}" for run in mixed]
    servers = _decided([_server(base, head, *pair, gate) for pair in names])
    if blocked:
        servers = [_withheld(server, f"these differ: {labels(blocked)}") for server in servers]
    return HeadComparison(
        head=head.run.id,
        decision=_worst([server.decision for server in servers]),
        blocked=tuple(blocked),
        notes=tuple(_notes(base, head, names, blocked)),
        drift=drift,
        servers=tuple(servers),
    )


def _notes(base: Side, head: Side, names: Sequence[tuple[str, str]], blocked: list[str]) -> Iterator[str]:
    if blocked:
        yield f"these differ, so every decision is INCONCLUSIVE: {labels(blocked)}"
    if not names:
        yield "no server, at the same sweep point, is in both runs"
    if base.run.id != head.run.id:
        yield (
            "the runs were made one after the other, not interleaved: a change of the host between them "
            "looks like a change of the server"
        )
    shared = {name for pair in names for name in pair}
    left = sorted((set(base.trials) | set(head.trials)) - shared)
    if left and base.run.id != head.run.id:
        yield f"in one of the runs only: {', '.join(left)}"


@dataclass(frozen=True)
class PairedRows:
    """A server's rows before Holm has seen them all: the effect of each gated one is kept beside it."""

    server: ServerComparison
    effects: tuple[Effect | None, ...]


def _server(base: Side, head: Side, name: str, head_name: str, gate: Gate) -> PairedRows:
    ours, theirs = base.trials[name], head.trials[head_name]
    repeats = sorted(set(ours) & set(theirs))
    both = [(ours[repeat], theirs[repeat]) for repeat in repeats]
    dropped = tuple(f"{name}/{repeat}" for repeat in sorted(set(ours) ^ set(theirs)))
    rows = [_row(metric, both, _gated(metric, gate, name in base.closed), base.run) for metric in METRICS]
    server = ServerComparison(
        server=name,
        head_server=head_name,
        pairs=len(both),
        dropped=dropped,
        metrics=tuple(row for row, _ in rows),
    )
    return PairedRows(server, tuple(found for _, found in rows))


def _gated(metric: Metric, gate: Gate, closed: bool) -> bool | None:
    """Return True if asked for; None if by default, where it was measured; False if only shown."""
    if gate.metrics is not None:
        return metric.name in gate.metrics
    return None if metric.gate == "always" or (metric.gate == "closed" and closed) else False


def _row(
    metric: Metric, both: Sequence[tuple[TrialFigures, TrialFigures]], gated: bool | None, run: Run
) -> tuple[MetricRow, Effect | None]:
    paired = [
        (x, y)
        for x, y in both
        if figure_of(x, metric.figure) is not None and figure_of(y, metric.figure) is not None
    ]
    row = MetricRow(
        metric=metric.name,
        unit=metric.figure.unit,
        worse=metric.worse,
        gated=bool(paired) if gated is None else gated,
        margin=metric.margin,
        pairs=len(paired),
        base_at_least=any(is_lower_bound(x, metric.figure) for x, _ in both),
        head_at_least=any(is_lower_bound(y, metric.figure) for _, y in both),
    )
    if not paired:
        return row.model_copy(update={"says": "not measured, or too few samples in a trial"}), None
    base, head = (_values(side, metric.figure) for side in zip(*paired, strict=True))
    row = row.model_copy(update={"base": statistics.median(base), "head": statistics.median(head)})
    try:
        ratios = log_ratios(base, head)
    except ValueError as error:
        return row.model_copy(update={"says": str(error)}), None
    row = row.model_copy(update={"ratio": math.exp(statistics.median(ratios))})
    if len(ratios) < FEWEST_FOR_INTERVAL:
        says = f"{len(ratios)} of at least {FEWEST_FOR_INTERVAL} pairs"
        return row.model_copy(update={"says": says}), None
    found = effect(_worsening(metric, ratios), math.log1p(metric.margin), run.manifest.seed or 0)
    return _with_effect(row, metric, found), found


def _values(trials: Sequence[TrialFigures], figure: Figure) -> list[float]:
    return [value for trial in trials if (value := figure_of(trial, figure)) is not None]


def _worsening(metric: Metric, ratios: Iterable[float]) -> list[float]:
    return [value if metric.worse == "higher" else -value for value in ratios]


def _with_effect(row: MetricRow, metric: Metric, found: Effect) -> MetricRow:
    def ratios(interval: tuple[float, float]) -> tuple[float, float]:
        low, high = interval if metric.worse == "higher" else (-interval[1], -interval[0])
        return math.exp(low), math.exp(high)

    return row.model_copy(
        update={
            "ci95": ratios(found.interval),
            "bootstrap95": ratios(found.bootstrap) if found.bootstrap else None,
            "improved": found.interval[1] < -math.log1p(metric.margin) and not row.head_at_least,
        }
    )


def _decided(drafts: Sequence[PairedRows]) -> list[ServerComparison]:
    """Decide every gated row, adjusted for all of them together (Holm)."""
    gated = [
        found.p
        for draft in drafts
        for row, found in zip(draft.server.metrics, draft.effects, strict=True)
        if row.gated and found is not None
    ]
    adjusted = iter(holm(gated))
    family = max(1, len(gated))  # without a gated metric, what is shown is one alone
    return [_decided_server(draft, adjusted, family) for draft in drafts]


def _decided_server(draft: PairedRows, adjusted: Iterator[float], family: int) -> ServerComparison:
    rows = []
    for row, found in zip(draft.server.metrics, draft.effects, strict=True):
        if found is None:
            rows.append(row)
            continue
        margin = math.log1p(row.margin)
        p = next(adjusted) if row.gated else found.p
        decision, why_not = _bounded(row, decide(found, margin, p))
        update = {"p_holm": p, "mde": _mde(row, found, family), "decision": decision, "says": why_not}
        rows.append(row.model_copy(update=update))
    decisions = [row.decision for row in rows if row.gated]
    return draft.server.model_copy(update={"metrics": tuple(rows), "decision": _worst(decisions)})


def _bounded(row: MetricRow, decision: Decision) -> tuple[Decision, str]:
    """Return the decision that lower bounds leave, and why: the true figure of either side may be higher."""
    unsure = {"OK": row.head_at_least, "REGRESSION": row.base_at_least, "INCONCLUSIVE": False}
    if not unsure[decision]:
        return decision, row.says
    side = "head" if decision == "OK" else "base"
    return "INCONCLUSIVE", f"a lower bound in the {side}: {why_bound(row.metric)}"


def _mde(row: MetricRow, found: Effect, family: int) -> float | None:
    least = minimal_detectable(found.spread, row.pairs, math.log1p(row.margin), family)
    return math.exp(least) if math.isfinite(least) else None


def _withheld(server: ServerComparison, why: str) -> ServerComparison:
    rows = [
        row.model_copy(update={"decision": "INCONCLUSIVE", "says": row.says or why}) for row in server.metrics
    ]
    return server.model_copy(update={"metrics": tuple(rows), "decision": "INCONCLUSIVE"})


def _worst(decisions: Sequence[Decision]) -> Decision:
    """REGRESSION before INCONCLUSIVE before OK; nothing decided is INCONCLUSIVE."""
    if "REGRESSION" in decisions:
        return "REGRESSION"
    return "OK" if decisions and set(decisions) == {"OK"} else "INCONCLUSIVE"


EXITS: dict[Decision, Exit] = {"OK": Exit.OK, "REGRESSION": Exit.THRESHOLD, "INCONCLUSIVE": Exit.UNTRUSTED}


def _conclude(base: str, heads: Sequence[HeadComparison], gate: Gate) -> Comparison:
    decision = _worst([head.decision for head in heads])
    return Comparison(
        base=base,
        decision=decision,
        exit_code=int(EXITS[decision]),
        refusal=next(filter(None, (refusal(head, gate.detect) for head in heads)), None),
        heads=tuple(heads),
    )
