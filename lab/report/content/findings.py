"""Findings, worst first, grouped by check: what is wrong, in which trial, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from lab.analysis.model import Finding, Summary
from lab.common.trial_key import TrialKey
from lab.report.content.text import clean, plural

# Worst first; known limits that were met come last.
_ORDER = ("invalid", "fail", "unknown", "suspect", "expected")
MOST_TRIALS = 4
KNOWN_LIMIT = "known_limit"


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
    """The finding's level as readers see it: a known limit that was met is `expected`."""
    return "expected" if finding.expected else finding.level


def sentence(finding: Finding) -> str:
    """`thread/1: the median moved`."""
    return (f"{clean(finding.trial)}: " if finding.trial else "") + clean(finding.says)


def in_order(summary: Summary) -> list[Finding]:
    """All findings, worst first, known limits last; checks that found nothing are left out."""
    found = [finding for finding in summary.findings if level_word(finding) in _ORDER]
    return sorted(found, key=lambda finding: _ORDER.index(level_word(finding)))


def groups(summary: Summary) -> list[Group]:
    """The same, by level and check; known limits by server, the limit itself before what follows from it."""
    together: dict[tuple[str, str], list[Finding]] = {}
    for finding in in_order(summary):
        about = _server(finding) if finding.expected else finding.check
        together.setdefault((level_word(finding), about), []).append(finding)
    made = []
    for (level, _), found in together.items():
        found.sort(key=lambda finding: finding.check != KNOWN_LIMIT)
        made.append(Group(level, clean(found[0].check), tuple(found)))
    return made


def _server(finding: Finding) -> str:
    return TrialKey.parse(finding.trial).group if finding.trial else ""


def verdict_meaning(summary: Summary) -> str:
    """One sentence on what the verdict word means here."""
    doubts = sum(level_word(finding) == "suspect" for finding in summary.findings)
    doubt = f"; {plural(doubts, 'finding')} to look at below" if doubts else ""
    return {
        "PASS": f"the figures are valid and every threshold held{doubt}",
        "FAIL": "the figures are valid, but a threshold did not hold or a server died",
        "INVALID": "the figures of at least one trial are invalid: see the findings",
        "INCONCLUSIVE": "a required check had no data, or a threshold cannot be told: see below",
        "UNKNOWN": "nothing was measured, or the run was interrupted: see the findings",
    }[summary.verdict]
