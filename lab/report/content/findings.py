"""Findings in reading order, those of one check told once: what is wrong, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from lab.analysis.model import Finding, Summary
from lab.report.content.text import clean, plural

# What spoils the result, what is bad, what we do not know, what is doubtful, then known limits that were met.
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
        return told(self.findings[0])

    @property
    def rest(self) -> tuple[Finding, ...]:
        """All others."""
        return self.findings[1:]

    @property
    def more(self) -> str:
        """`and 5 more in poll/1, thread/1`; empty for a single finding."""
        if not self.rest:
            return ""
        trials = list(dict.fromkeys(clean(f.trial) for f in self.rest if f.trial))
        shown = ", ".join(trials[:MOST_TRIALS]) + (" …" if len(trials) > MOST_TRIALS else "")
        return f"and {len(self.rest):,} more" + (f" in {shown}" if shown else "")

    @property
    def do(self) -> str:
        """What to do; nothing about a known limit that was met."""
        return "" if self.word == "expected" else clean(self.findings[0].do)


def word(finding: Finding) -> str:
    """The finding's level as readers see it: a known limit that was met is `expected`."""
    return "expected" if finding.expected else finding.level


def told(finding: Finding) -> str:
    """`thread/1: the median moved`."""
    return (f"{clean(finding.trial)}: " if finding.trial else "") + clean(finding.says)


def telling(summary: Summary) -> list[Finding]:
    """All findings, worst first, known limits last; checks that found nothing are left out."""
    found = [finding for finding in summary.findings if word(finding) in _ORDER]
    return sorted(found, key=lambda finding: _ORDER.index(word(finding)))


def groups(summary: Summary) -> list[Group]:
    """The same, by level and check; known limits by server, the limit itself before what follows from it."""
    together: dict[tuple[str, str], list[Finding]] = {}
    for finding in telling(summary):
        about = (finding.trial or "").split("/")[0] if finding.expected else finding.check
        together.setdefault((word(finding), about), []).append(finding)
    made = []
    for (level, _), found in together.items():
        found.sort(key=lambda finding: finding.check != KNOWN_LIMIT)
        made.append(Group(level, clean(found[0].check), tuple(found)))
    return made


def verdict_meaning(summary: Summary) -> str:
    """One sentence on what the verdict word means here."""
    doubts = sum(word(finding) == "suspect" for finding in summary.findings)
    doubt = f", with {plural(doubts, 'doubt')} listed below" if doubts else ""
    return {
        "PASS": f"measured, believable, and every threshold held{doubt}",
        "FAIL": "measured and believable, but a threshold did not hold or a server died",
        "INVALID": "at least one trial must not be believed: see the findings",
        "INCONCLUSIVE": "a check that is needed could not be made: see the findings",
        "UNKNOWN": "no measurement came about, or the run was interrupted: see the findings",
    }[summary.verdict]
