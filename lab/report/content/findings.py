"""Findings, worst first, grouped by check: what is wrong, in which trial, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lab.analysis.checks import KNOWN_LIMIT, REQUIRED, TRIAL_CHECKS
from lab.analysis.model import Finding, Summary
from lab.common.figure import Figure
from lab.common.trial_key import TrialKey
from lab.report.content import text
from lab.report.content.text import clean, plural

# Worst first; limits of a server are results; known limits that were met come last.
_ORDER = ("invalid", "fail", "unknown", "suspect", "limit", "expected")
MOST_TRIALS = 4


@dataclass(frozen=True)
class Group:
    """What one check said at one level, about one trial or many."""

    word: str
    check: str
    findings: tuple[Finding, ...]

    @property
    def first(self) -> str:
        """The first finding, with its trial."""
        return sentence(self.findings[0])

    @property
    def rest(self) -> tuple[Finding, ...]:
        """All others."""
        return self.findings[1:]

    @property
    def more(self) -> str:
        """`(also in poll/1, thread/1)`, or `(and 3 other findings)` of one trial; empty for one finding."""
        if not self.rest:
            return ""
        trials = list(
            dict.fromkeys(f.trial for f in self.rest if f.trial and f.trial != self.findings[0].trial)
        )
        if not trials:
            return f"(and {plural(len(self.rest), 'other finding')})"
        shown = ", ".join(map(clean, trials[:MOST_TRIALS]))
        beyond = len(trials) - MOST_TRIALS
        return f"(also in {shown}" + (f" and {plural(beyond, 'more trial')})" if beyond > 0 else ")")

    @property
    def do(self) -> str:
        """What to do; nothing about a known limit that was met."""
        return "" if self.word == "expected" else clean(self.findings[0].do)


def level_word(finding: Finding) -> str:
    """Return the finding's level as readers see it: a known limit that was met is `expected`."""
    return "expected" if finding.expected else finding.level


def sentence(finding: Finding) -> str:
    """`thread/1: the median moved`."""
    return (f"{clean(finding.trial)}: " if finding.trial else "") + clean(finding.says)


def in_order(summary: Summary) -> list[Finding]:
    """All findings, worst first, known limits last; checks that found nothing are left out."""
    found = [finding for finding in summary.findings if level_word(finding) in _ORDER]
    return sorted(found, key=lambda finding: _ORDER.index(level_word(finding)))


def groups(summary: Summary) -> list[Group]:
    """Return the same by level and check; known limits by server, limit first; not checked: by reason."""
    together: dict[tuple[str, str], list[Finding]] = {}
    for finding in in_order(summary):
        about = _subject(finding)
        together.setdefault((level_word(finding), about), []).append(finding)
    made = []
    for (level, _), found in together.items():
        found.sort(key=lambda finding: finding.check != KNOWN_LIMIT)
        checks = (
            dict.fromkeys(clean(f.check) for f in found) if level == "unknown" else [clean(found[0].check)]
        )
        made.append(Group(level, ", ".join(checks), _once(found)))
    return made


# About the whole trial: no figure names them among the checks that it rests on. The first are never folded.
ABOUT_ALL = frozenset({"server_died", KNOWN_LIMIT, "isolation", "own_users"})
ABOUT_NONE = frozenset({"server_stopped"})  # its end is after all that is measured
_OF_A_TRIAL = frozenset(check.name for check in TRIAL_CHECKS) - ABOUT_ALL


def divided(summary: Summary, figures: Iterable[Figure]) -> tuple[list[Group], list[Group]]:
    """Return the groups that concern a figure that is shown, or the verdict; and those that concern neither.

    Args:
        summary: A judged run.
        figures: What this report has a place for. One without a value and a threshold is not shown.
    """
    asked = {row.metric for row in summary.thresholds}
    shown = [
        figure
        for figure in figures
        if (figure.threshold or figure.name) in asked
        or any(text.shown(server, figure) is not None for server in summary.servers.values())
    ]
    needed = {check for figure in shown for check in figure.needs}
    concerned: tuple[list[Group], list[Group]] = ([], [])
    for group in groups(summary):
        concerned[not any(_concerns(finding, needed) for finding in group.findings)].append(group)
    return concerned


def _concerns(finding: Finding, needed: Collection[str]) -> bool:
    decides = finding.level == "unknown" and finding.check in REQUIRED
    return (
        decides
        or finding.level not in ("suspect", "unknown")
        or finding.check in needed
        or finding.check not in _OF_A_TRIAL
    )


def aside_words(aside: Sequence[Group]) -> str:
    """`2 more findings concern no figure shown here`."""
    count = sum(len(group.findings) for group in aside)
    return f"{plural(count, 'more finding')} {'concerns' if count == 1 else 'concern'} no figure shown here"


def _once(found: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings without those that say the same of the same trial: several checks, one reason."""
    return tuple({(f.trial, f.says): f for f in reversed(found)}.values())[::-1]


def _subject(finding: Finding) -> str:
    """Return what a finding is told with: known limits by server, what was not checked by its reason."""
    if finding.expected:
        return _server(finding)
    return finding.says if finding.level == "unknown" else finding.check


def _server(finding: Finding) -> str:
    return TrialKey.parse(finding.trial).group if finding.trial else ""


def verdict_meaning(summary: Summary) -> str:
    """One sentence on what the verdict word means here."""
    doubts = sum(level_word(finding) == "suspect" for finding in summary.findings)
    limits = sum(level_word(finding) == "limit" for finding in summary.findings)
    doubt = f"; {plural(limits, 'limit')} met by a server" if limits else ""
    doubt += f"; {plural(doubts, 'finding')} to look at below" if doubts else ""
    return {
        "PASS": f"the figures are valid and every threshold held{doubt}",
        "FAIL": "the figures are valid, but a threshold did not hold or a server died",
        "INVALID": "the figures of at least one trial are invalid: see the findings",
        "INCONCLUSIVE": "a required check had no data, or a threshold cannot be decided: see below",
        "UNKNOWN": "nothing was measured, or the run was interrupted: see the findings",
    }[summary.verdict]
