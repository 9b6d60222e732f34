"""Validity checks: pure functions of one trial's record, or of the run. They judge; they change nothing.

To add one: write the function beside its kin, give its limits a row in table.py, list it in TRIAL_CHECKS.
A check that crashes, or lacks its data, yields `unknown` and says why: silence is never taken for health.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from lab.analysis.checks import generator, host, known, links, load, network, server, whole
from lab.analysis.checks.evidence import Evidence, NoData, Said
from lab.analysis.figures import figures
from lab.analysis.model import Finding, Level, Summary, TrialFigures
from lab.common.errors import Exit
from lab.results.record import Run, TrialRecord
from lab.scenario.load import load_of


def _always(e: Evidence) -> bool:
    return e.trial.load is not None


def _engine(e: Evidence) -> bool:
    """What holds of the lab's engine only; `own_users` tells what is left out for others."""
    return _always(e) and not e.own_users


def _own_users(e: Evidence) -> bool:
    return _always(e) and e.own_users


def _isolated(e: Evidence) -> bool:
    return _always(e) and e.isolated


def _model(e: Evidence) -> bool:
    return _always(e) and e.trial.model is not None


def _unramped(e: Evidence) -> bool:
    """A load that changes as asked has no steady state to be missed."""
    return _always(e) and not load_of(e.swarm["load"]).is_ramping


def _linked_or_timed(e: Evidence) -> bool:
    return bool(e.trial.events) or _linked(e)


def _linked(e: Evidence) -> bool:
    return _always(e) and bool(e.trial.scenario.get("links") or e.trial.links)


@dataclass(frozen=True)
class Check:
    """One check of a trial. Without data a `required` one makes the run inconclusive.

    `excused` says that its findings do not count for a server that met a limit the scenario expects, and that
    it is not asked where the server died: half a load has no rate, no steady state and no last count.
    `applies` says for which trials there is anything to check. `each`: it is asked of each group of a swarm.
    """

    name: str
    ask: Callable[[Evidence], Iterable[Said]]
    required: bool = True
    excused: bool = False
    applies: Callable[[Evidence], bool] = _always
    each: bool = False


@dataclass(frozen=True)
class RunCheck:
    """One check of the whole run."""

    name: str
    ask: Callable[[Run, Summary], Iterable[Said]]
    required: bool = True


KNOWN_LIMIT = "known_limit"
TRIAL_CHECKS = (
    # These two come first: what they find decides how the rest is taken.
    Check("server_died", server.server_died),
    Check(KNOWN_LIMIT, known.known_limits),
    Check("server_stopped", server.server_stopped),
    Check("own_users", load.own_users, required=False, applies=_own_users, each=True),
    Check("offered_load", load.offered_load, excused=True, applies=_engine, each=True),
    Check("connections_reached", load.connections_reached, excused=True, applies=_engine, each=True),
    Check("lateness", load.lateness, excused=True, applies=_engine, each=True),
    Check("omission", load.omission, excused=True, applies=_engine, each=True),
    Check("little_law", load.little_law, required=False, excused=True, applies=_engine, each=True),
    Check("outcomes", load.outcomes, excused=True),
    Check("server_count", load.server_count, excused=True, applies=_model),
    Check("locust_count", load.locust_count, excused=True),
    Check("errors", load.errors, excused=True),
    Check("steady", load.steady, excused=True, applies=_unramped, each=True),
    Check("tail_support", load.tail_support, excused=True),
    Check("generator_cpu", generator.generator_cpu),
    Check("generator_throttled", generator.generator_throttled, required=False, applies=_isolated),
    Check("loop_lag", generator.loop_lag),
    Check("generator_ceiling", generator.generator_ceiling, required=False, applies=_engine),
    Check("client_exhausted", generator.client_exhausted),
    Check("throttled", server.throttled, applies=_isolated),
    Check("oom", server.oom, applies=_isolated),
    Check("swap", server.swap),
    Check("model_profile", server.model_profile, required=False, applies=_model),
    Check("right_answers", server.right_answers),
    Check("kernel_counters", network.kernel_counters, required=False, excused=True, applies=_isolated),
    Check("link_in_force", links.in_force, applies=_linked_or_timed),
    Check("link_delay", links.delay, applies=_linked),
    Check("link_loss", links.loss, applies=_linked),
    Check("link_rate", links.rate, required=False, applies=_linked),
    Check("link_drops", links.drops, applies=_linked),
    Check("delayline_lateness", links.lateness, applies=_linked),
    Check("host_quiet", host.host_quiet),
    Check("placement", host.placement),
    Check("sampling", host.sampling),
    Check("isolation", host.isolation, required=False),
)
RUN_CHECKS = (
    RunCheck("complete", whole.complete),
    RunCheck("repeated", whole.repeated),
    RunCheck("machines", whole.machines),
    RunCheck("provenance", whole.provenance),
    RunCheck("fairness", whole.fairness),
)
# From harmless to grave: `unknown` is above `suspect`, for it may hide anything.
BADNESS: tuple[Level, ...] = ("ok", "suspect", "unknown", "fail", "invalid")
REQUIRED = frozenset(check.name for check in (*TRIAL_CHECKS, *RUN_CHECKS) if check.required)


# What comes from outside the server. Only a trial with such a finding is measured again: to repeat one for
# what its server did (wrong answers, errors, a leak) until it does not show would be to choose the result.
DISTURBANCES = frozenset(
    {"lateness", "generator_cpu", "loop_lag", "host_quiet", "sampling", "delayline_lateness"}
)
# What no busy host brings about: a quota on the swarm, a rule that vanished, a wrong answer. A trial with
# such a finding stands as it is, whatever disturbed it besides.
NO_DISTURBANCE = frozenset({"generator_throttled", "link_in_force", "right_answers"})


@dataclass(frozen=True)
class Outcome:
    """What all checks said, and how often each was asked and with what result (`tally`)."""

    findings: tuple[Finding, ...]
    tally: dict[str, dict[str, int]]


def check(run: Run, summary: Summary) -> Outcome:
    """Ask every check of every trial, and of the run. Never raises for what a record holds."""
    known_figures = {f.trial: f for one in summary.servers.values() for f in one.per_trial}
    evidence = (Evidence(trial, known_figures[trial.id]) for trial in run.trials)
    asked = [answer for one in evidence for answer in _of_trial(one)]
    asked += [(one.name, _findings(one.name, partial(one.ask, run, summary), None)) for one in RUN_CHECKS]
    tally: dict[str, Counter[str]] = {}
    for name, found in asked:
        tally.setdefault(name, Counter())[_worst(found)] += 1
    findings = sorted(_collapsed([f for _, found in asked for f in found], len(run.trials)), key=_order)
    return Outcome(tuple(findings), {name: dict(counts) for name, counts in tally.items()})


def check_trial(trial: TrialRecord) -> tuple[Finding, ...]:
    """What the checks say of one trial alone, for whoever has to decide at once whether to repeat it."""
    evidence = Evidence(trial, figures(trial))
    return tuple(sorted((f for _, found in _of_trial(evidence) for f in found), key=_order))


def disturbed(trial: TrialRecord) -> str | None:
    """Why a trial should be measured again; None where it is valid, failed, or invalid by its own doing."""
    invalid = [f for f in check_trial(trial) if f.level == "invalid" and not f.expected]
    if any(finding.check in NO_DISTURBANCE for finding in invalid):
        return None
    return next((finding.says for finding in invalid if finding.check in DISTURBANCES), None)


def noise(trial: TrialRecord) -> str | None:
    """What else was at work on the host while a load ran, or why nobody can tell; None on a quiet host."""
    evidence = Evidence(trial, TrialFigures(trial=trial.id, status="ok"))
    said = (finding.says for finding in _findings("host_quiet", partial(host.host_quiet, evidence), trial.id))
    return next(said, None)


def _of_trial(e: Evidence) -> Iterator[tuple[str, list[Finding]]]:
    """(check, its findings) for every check that applies to the trial.

    A server that died failed its trial: whether figures of half a load could be believed is no question then.
    """
    died = e.trial.exit_code == Exit.THRESHOLD
    excused = False
    for one in TRIAL_CHECKS:
        if died:
            return
        asked = {name: part for name, part in (e.parts if one.each else {"": e}).items() if one.applies(part)}
        if not asked:
            continue
        found = [f for name, part in asked.items() for f in _of_part(one, name, part)]
        if excused and one.excused:
            found = [f.model_copy(update={"expected": True}) for f in found]
        died = died or any(f.level == "fail" for f in found)
        excused = excused or (one.name == KNOWN_LIMIT and any(f.expected for f in found))
        yield one.name, found


def _of_part(one: Check, group: str, e: Evidence) -> list[Finding]:
    """What the check finds; of a named group with its name in front."""
    found = _findings(one.name, partial(one.ask, e), e.trial.id)
    return [f.model_copy(update={"says": f"{group}: {f.says}"}) for f in found] if group else found


def _findings(name: str, ask: Callable[[], Iterable[Said]], trial: str | None) -> list[Finding]:
    try:
        said = list(ask())
    except NoData as error:
        said = [Said("unknown", f"not checked: {error}")]
    except Exception as error:
        # A checker that crashes must not take the record down with it (Jepsen): unknown, with its error.
        said = [
            Said("unknown", f"the check itself failed: {type(error).__name__}: {error}", "please report it")
        ]
    return [Finding(check=name, **one._replace(trial=one.trial or trial)._asdict()) for one in said]


def _worst(found: Iterable[Finding]) -> Level:
    """The worst level that counts; what is expected is ok."""
    levels = [f.level for f in found if not f.expected]
    return max(levels, key=BADNESS.index, default="ok")


def _collapsed(findings: Iterable[Finding], trials: int) -> Iterator[Finding]:
    """One finding for what is said, word for word, of several trials; invalid trials keep their names."""
    same: dict[tuple[object, ...], list[Finding]] = {}
    for number, finding in enumerate(findings):
        alike = finding.level in ("unknown", "suspect")
        same.setdefault((finding.check, finding.says, finding.expected) if alike else (number,), []).append(
            finding
        )
    for group in same.values():
        many = len(group)
        where = "" if many == trials else f" (in {many} of {trials} trials)"
        merged = {"trial": None, "value": None, "says": group[0].says + where}
        yield group[0] if many == 1 else group[0].model_copy(update=merged)


def _order(finding: Finding) -> tuple[bool, int, str, str]:
    """Worst first; expected limits last."""
    return (finding.expected, -BADNESS.index(finding.level), finding.check, finding.trial or "")
