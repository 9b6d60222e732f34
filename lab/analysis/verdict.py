"""Judgement: checks, thresholds, verdict and exit code. A verdict starts UNKNOWN; PASS is earned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lab.analysis import checks
from lab.analysis.growth import curves
from lab.analysis.model import Finding, Level, Summary, VerdictWord
from lab.analysis.summary import over_valid
from lab.analysis.thresholds import judge_thresholds
from lab.common.errors import PRECEDENCE, Exit, worst
from lab.results.record import Run, TrialRecord

# Several at once: the first that holds (README: exit codes).


# A trial without a measurement: a lost worker voids it, a dead server fails it, anything else tells nothing.
LEVELS: dict[Exit, Level] = {Exit.UNTRUSTED: "invalid", Exit.THRESHOLD: "fail"}


def judge(run: Run, summary: Summary) -> Summary:
    """Return the summary with findings, thresholds, curves, medians of valid trials, verdict, exit code."""
    outcome = checks.check(run, summary)
    findings = (*_failed(run), *outcome.findings)
    invalid = invalid_trials(run, findings)
    servers = {name: over_valid(server, invalid) for name, server in summary.servers.items()}
    figures = {f.trial: f for server in summary.servers.values() for f in server.per_trial}
    rows = judge_thresholds(run, figures, invalid)
    update = {
        "findings": findings,
        "checks": outcome.tally,
        "servers": servers,
        "thresholds": rows,
        "curves": tuple(curves(servers.values(), invalid, limited_trials(findings))),
    }
    judged = summary.model_copy(update=update)
    code = _exit_code(run, judged)
    return judged.model_copy(update={"verdict": _verdict(code, judged), "exit_code": int(code)})


def invalid_trials(run: Run, findings: Iterable[Finding]) -> frozenset[str]:
    """Return the trials whose figures may not be believed; an invalid run takes all its trials with it."""
    named = {f.trial for f in findings if f.level == "invalid" and not f.expected}
    return frozenset(t.id for t in run.trials if t.id in named or None in named)


def limited_trials(findings: Iterable[Finding]) -> frozenset[str]:
    """Return the trials in which a server met a limit of its own, expected or not, and so did less."""
    met = (f.trial for f in findings if f.level == "limit" or _met(f))
    return frozenset(trial for trial in met if trial is not None)


def _met(finding: Finding) -> bool:
    return finding.check == checks.KNOWN_LIMIT and finding.value is not None


def _failed(run: Run) -> Iterator[Finding]:
    """Trials that gave no measurement."""
    for trial in run.trials:
        if trial.status == "failed":
            yield Finding(
                check="measurement",
                level=LEVELS.get(_code(trial), "unknown"),
                trial=trial.id,
                says=trial.reason or "no measurement came about",
                do="half a window has no validity checks: run it without abort_on_fail for those"
                if trial.aborted
                else "see the logs in this trial's folder",
            )


def _exit_code(run: Run, summary: Summary) -> Exit:
    return worst(_exit_codes(run, summary))


def _code(trial: TrialRecord) -> Exit:
    """Return the exit code that a failed trial calls for; one that says nothing is no measurement."""
    known = {int(code): code for code in PRECEDENCE if code is not Exit.OK}
    return known.get(trial.exit_code, Exit.NO_MEASUREMENT)


def _exit_codes(run: Run, summary: Summary) -> Iterator[Exit]:
    if run.interrupted:
        yield Exit.INTERRUPTED
    if not run.trials:
        yield Exit.NO_MEASUREMENT
    for trial in run.trials:
        if trial.status == "failed":
            yield _code(trial)
    for finding in summary.findings:
        if finding.expected:
            continue
        if finding.level == "invalid" or (finding.level == "unknown" and finding.check in checks.REQUIRED):
            yield Exit.UNTRUSTED
        if finding.level == "fail":
            yield Exit.THRESHOLD
    yield from _of_thresholds(summary)


def _of_thresholds(summary: Summary) -> Iterator[Exit]:
    """One that failed, and can be told, comes before one that cannot be told: its answer is known."""
    missed = [row for row in summary.thresholds if not row.ok]
    if any(row.told for row in missed):
        yield Exit.THRESHOLD
    elif missed:
        yield Exit.UNTRUSTED


def _verdict(code: Exit, summary: Summary) -> VerdictWord:
    if code == Exit.OK:
        return "PASS"
    if code == Exit.THRESHOLD:
        return "FAIL"
    if code == Exit.UNTRUSTED:
        counted = (f for f in summary.findings if not f.expected)
        return "INVALID" if any(f.level == "invalid" for f in counted) else "INCONCLUSIVE"
    return "UNKNOWN"
