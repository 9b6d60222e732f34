"""What checks say, as findings: never an exception; in order; the same of several trials once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lab.analysis.checks.trial_view import NoData, Result
from lab.analysis.model import Finding, Level

# From harmless to grave: `unknown` is above `suspect`, for it may hide anything.
BADNESS: tuple[Level, ...] = ("ok", "limit", "suspect", "unknown", "fail", "invalid")


def findings_of(name: str, evaluate: Callable[[], Iterable[Result]], trial: str | None) -> list[Finding]:
    """Return what a check says. What it saw before it lacked data, or crashed, is kept."""
    results: list[Result] = []
    try:
        results.extend(evaluate())
    except NoData as error:
        results.append(Result("unknown", f"not checked: {error}"))
    except Exception as error:
        # A check that crashes must not take the record down with it (Jepsen): unknown, with its error.
        failure = f"the check itself failed: {type(error).__name__}: {error}"
        results.append(Result("unknown", failure, "please report it"))
    return [_finding(name, one, trial) for one in results]


def _finding(check: str, result: Result, trial: str | None) -> Finding:
    return Finding(
        check=check,
        level=result.level,
        trial=result.trial or trial,
        says=result.message,
        do=result.remedy,
        value=result.value,
        expected=result.expected,
    )


def worst(found: Iterable[Finding]) -> Level:
    """Return the worst level that counts; what is expected is ok."""
    levels = [f.level for f in found if not f.expected]
    return max(levels, key=BADNESS.index, default="ok")


def collapsed(findings: Iterable[Finding], trials: int) -> Iterator[Finding]:
    """One finding for a message that several trials share word for word; invalid trials keep their own."""
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


def order(finding: Finding) -> tuple[bool, int, str, str]:
    """Worst first; expected limits last."""
    return (finding.expected, -BADNESS.index(finding.level), finding.check, finding.trial or "")
