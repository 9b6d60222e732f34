"""Validity checks: pure functions of one trial's record, or of the run. They judge and change nothing.

CONTRIBUTING.md says what adding one takes. A check that crashes, or lacks its data, yields `unknown` with the
reason: silence is no health.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from lab.analysis.checks import (
    connections,
    conservation,
    disturbance,
    generator,
    host,
    known_limits,
    links,
    load,
    network,
    real_time,
    run_checks,
    server,
    stalls,
)
from lab.analysis.checks.findings import collapsed, findings_of, order, worst
from lab.analysis.checks.known_limits import (
    arrivals_wait,
    failed_share,
    fewer_answers,
    fewer_connections,
    full_queue,
    undivided_lateness,
)
from lab.analysis.checks.trial_view import NoData, Result, TrialView
from lab.analysis.figures import figures
from lab.analysis.model import Finding, Summary, TrialFigures
from lab.common.errors import Exit
from lab.results.record import Run, TrialRecord


def _always(view: TrialView) -> bool:
    return view.trial.load is not None


def _engine(view: TrialView) -> bool:
    """Only the lab's own engine can be asked; the check `own_users` lists what is left out for others."""
    return _always(view) and not view.own_users


def _own_users(view: TrialView) -> bool:
    return _always(view) and view.own_users


def _isolated(view: TrialView) -> bool:
    return _always(view) and view.isolated


def _model(view: TrialView) -> bool:
    return _always(view) and view.trial.model is not None


def _real_time(view: TrialView) -> bool:
    return _always(view) and bool(real_time.real_time(view))


def _unramped(view: TrialView) -> bool:
    """Tell whether there is a steady state to judge: not of a load that changes, or whose backlog grows."""
    return _support(view) and not view.swarm.load.is_ramping


def _open(view: TrialView) -> bool:
    return _engine(view) and view.open_load


def _support(view: TrialView) -> bool:
    """Tell whether more samples would bring the times closer to a state: not where the backlog grew."""
    return _always(view) and view.figures.kept_up is not False


def _linked_or_timed(view: TrialView) -> bool:
    return bool(view.trial.events) or _linked(view)


def _timed(view: TrialView) -> bool:
    return _always(view) and bool(view.trial.scenario.events)


def _linked(view: TrialView) -> bool:
    return _always(view) and bool(view.trial.scenario.links or view.trial.links)


Excuse = Callable[[TrialView, known_limits.Met, Finding], bool]


@dataclass(frozen=True)
class Check:
    """One check of a trial.

    Attributes:
        required: without data the run is INCONCLUSIVE; False for what not every host can record.
        excused: whether a limit that the scenario expects, and the server met, explains a finding of it: then
            the finding does not count. None: no limit explains any.
        applies: for which trials there is anything to check; by default those with a load.
        per_group: each group of the swarm is checked; the sum of groups would hide or invent a fault.
    """

    name: str
    evaluate: Callable[[TrialView], Iterable[Result]]
    required: bool = True
    excused: Excuse | None = None
    applies: Callable[[TrialView], bool] = _always
    per_group: bool = False


@dataclass(frozen=True)
class RunCheck:
    """One check of the whole run."""

    name: str
    evaluate: Callable[[Run, Summary], Iterable[Result]]
    required: bool = True


KNOWN_LIMIT, LINK_DROPS = "known_limit", "link_drops"
TRIAL_CHECKS = (
    # A dead server ends the list. Conservation, right answers, generator, host and links are never excused.
    Check("server_died", server.server_died),
    Check(KNOWN_LIMIT, known_limits.known_limits),
    Check("server_stopped", server.server_stopped),
    Check("own_users", load.own_users, required=False, applies=_own_users, per_group=True),
    Check("backlog", load.backlog, required=False, excused=arrivals_wait, applies=_open, per_group=True),
    Check("offered_load", load.offered_load, excused=arrivals_wait, applies=_engine, per_group=True),
    Check(
        "connections_reached",
        connections.connections_reached,
        excused=fewer_connections,
        applies=_engine,
        per_group=True,
    ),
    Check("lateness", load.lateness, excused=undivided_lateness, applies=_engine, per_group=True),
    Check("omission", load.omission, excused=arrivals_wait, applies=_engine, per_group=True),
    Check("little_law", conservation.little_law, required=False, applies=_engine, per_group=True),
    Check("outcomes", load.outcomes),
    Check("seconds", conservation.seconds, per_group=True),
    Check("server_count", load.server_count, applies=_model),
    Check("server_window", conservation.server_window, required=False, applies=_model),
    Check("locust_count", load.locust_count),
    Check("errors", load.errors, excused=failed_share),
    Check("steady", load.steady, excused=arrivals_wait, applies=_unramped, per_group=True),
    Check("tail_support", load.tail_support, excused=fewer_answers, applies=_support),
    Check("generator_cpu", generator.generator_cpu),
    Check("generator_throttled", generator.generator_throttled, required=False, applies=_isolated),
    Check("real_time_throttled", real_time.throttled, required=False, applies=_real_time),
    Check("loop_lag", generator.loop_lag),
    Check("generator_stalls", stalls.generator_stalls, required=False),
    Check("generator_ceiling", generator.generator_ceiling, required=False, applies=_engine),
    Check("client_exhausted", generator.client_exhausted),
    Check("cpu_full", server.cpu_full, required=False),
    Check("throttled", server.throttled, applies=_isolated),
    Check("oom", server.oom, applies=_isolated),
    Check("swap", server.swap),
    Check("model_profile", server.model_profile, required=False, applies=_model),
    Check("right_answers", server.right_answers),
    Check("kernel_counters", network.kernel_counters, required=False, excused=full_queue, applies=_isolated),
    Check("link_in_force", links.in_force, applies=_linked_or_timed),
    Check("event_on_time", links.event_on_time, applies=_timed),
    Check("link_delay", links.delay, applies=_linked),
    Check("link_loss", links.loss, applies=_linked),
    Check("link_rate", links.rate, required=False, applies=_linked),
    Check(LINK_DROPS, links.drops, applies=_linked),
    Check("delayline_lateness", links.lateness, applies=_linked),
    Check("host_quiet", disturbance.host_quiet),
    Check("run_delay", disturbance.run_delay, required=False),
    Check("placement", host.placement),
    Check("cpu_sets", host.cpu_sets, required=False),
    Check("clocks", host.clocks, required=False),
    Check("sampling", host.sampling),
    Check("sampler_stalls", stalls.sampler_stalls, required=False),
    Check("isolation", host.isolation, required=False),
)
RUN_CHECKS = (
    RunCheck("complete", run_checks.complete),
    RunCheck("readable", run_checks.readable),
    RunCheck("repeated", run_checks.repeated),
    RunCheck("machines", run_checks.machines),
    RunCheck("provenance", run_checks.provenance),
    RunCheck("fairness", run_checks.fairness),
)
REQUIRED = frozenset(check.name for check in (*TRIAL_CHECKS, *RUN_CHECKS) if check.required)


# Caused from outside the server. Only a trial with such a finding is measured again: to repeat one because of
# what its server did (wrong answers, errors, a leak) would select the result.
DISTURBANCES = frozenset(
    {
        "lateness",
        "generator_cpu",
        "loop_lag",
        "generator_stalls",
        "host_quiet",
        "run_delay",
        "clocks",
        "sampling",
        "delayline_lateness",
        "event_on_time",
    }
)
# What follows where a link's full queue dropped packets: those findings name the link, never the server.
FROM_DROPS = frozenset(
    {"offered_load", "connections_reached", "omission", "errors", "steady", "kernel_counters"}
)
DROPS_FIRST = "first raise the `limit` of the link whose full queue dropped packets (link_drops)"
# Not caused by a busy host: a quota or a budget of the swarm, a rule that vanished, a wrong answer. A trial
# with such a finding is not measured again, whatever else disturbed it.
NO_DISTURBANCE = frozenset({"generator_throttled", "real_time_throttled", "link_in_force", "right_answers"})


@dataclass(frozen=True)
class Outcome:
    """All findings, and per check how many trials had which level (`tally`)."""

    findings: tuple[Finding, ...]
    tally: dict[str, dict[str, int]]


def check(run: Run, summary: Summary) -> Outcome:
    """Run every check on every trial, and on the run. Never raises for what a record holds."""
    known_figures = {f.trial: f for one in summary.servers.values() for f in one.per_trial}
    views = (TrialView(trial, known_figures[trial.id]) for trial in run.trials)
    checked = [answer for view in views for answer in _of_trial(view)]
    checked += [
        (one.name, findings_of(one.name, partial(one.evaluate, run, summary), None)) for one in RUN_CHECKS
    ]
    tally: dict[str, Counter[str]] = {}
    for name, found in checked:
        tally.setdefault(name, Counter())[worst(found)] += 1
    findings = sorted(collapsed([f for _, found in checked for f in found], len(run.trials)), key=order)
    return Outcome(tuple(findings), {name: dict(counts) for name, counts in tally.items()})


def check_trial(trial: TrialRecord) -> tuple[Finding, ...]:
    """Return the findings of one trial alone, to decide at once whether to repeat it."""
    view = TrialView(trial, figures(trial))
    return tuple(sorted((f for _, found in _of_trial(view) for f in found), key=order))


def disturbed(trial: TrialRecord) -> str | None:
    """Why a trial should be measured again; None if it is valid, failed, or invalid by its server."""
    invalid = [f for f in check_trial(trial) if f.level == "invalid" and not f.expected]
    if any(finding.check in NO_DISTURBANCE for finding in invalid):
        return None
    return next((finding.says for finding in invalid if finding.check in DISTURBANCES), None)


def noise(trial: TrialRecord) -> str | None:
    """Return what else used the host's CPUs under load, or why that is unknown; None for a quiet host."""
    view = TrialView(trial, TrialFigures(trial=trial.id, status="ok"))
    found = findings_of("host_quiet", partial(disturbance.host_quiet, view), trial.id)
    return next((finding.says for finding in found), None)


def _of_trial(view: TrialView) -> Sequence[tuple[str, list[Finding]]]:
    """(check, its findings) for every check that applies to the trial; what to do names what comes first."""
    answers = list(_answers(view))
    if not any(f.level == "invalid" for name, found in answers if name == LINK_DROPS for f in found):
        return answers
    return [
        (name, [f.model_copy(update={"do": DROPS_FIRST}) if name in FROM_DROPS else f for f in found])
        for name, found in answers
    ]


def _answers(view: TrialView) -> Iterator[tuple[str, list[Finding]]]:
    """(check, its findings) for every check that applies to the trial.

    No check follows that of a server that died: half a load has no rate, no steady state and no last count.
    """
    died = view.trial.exit_code == Exit.THRESHOLD
    limit = _limit(view)
    unchecked: list[str] = []
    for one in TRIAL_CHECKS:
        if died:
            return
        parts = view.parts if one.per_group else {"": view}
        parts = {name: part for name, part in parts.items() if one.applies(part)}
        if not parts:
            continue
        found = [f for name, part in parts.items() for f in _of_part(one, name, part)]
        found = [f for f in found if not _is_told(f, unchecked)]
        unchecked += [f.says for f in found if f.level == "unknown"]
        if limit and one.excused:
            found = [_excused(one.excused, view, limit, f) for f in found]
        died = died or any(f.level == "fail" for f in found)
        yield one.name, found


def _excused(follows: Excuse, view: TrialView, limit: known_limits.Met, finding: Finding) -> Finding:
    """Mark a finding as expected if it follows from the limit; without data nobody can say so."""
    try:
        expected = follows(view, limit, finding)
    except NoData:
        expected = False
    return finding.model_copy(update={"expected": True}) if expected else finding


def _limit(view: TrialView) -> known_limits.Met | None:
    try:
        return known_limits.met(view)
    except NoData:
        return None


def _is_told(finding: Finding, unchecked: Iterable[str]) -> bool:
    """Whether a finding is the reason for which a check before could not be made: one cause is told once."""
    return finding.level == "suspect" and any(finding.says in reason for reason in unchecked)


def _of_part(one: Check, group: str, view: TrialView) -> list[Finding]:
    """Return the check's findings; those of a named group begin with its name."""
    found = findings_of(one.name, partial(one.evaluate, view), view.trial.id)
    return [f.model_copy(update={"says": f"{group}: {f.says}"}) for f in found] if group else found
