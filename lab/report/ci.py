"""What CI systems show of a run: GitHub's step summary and annotations, GitLab's collapsible log section.

All is text; who writes it where is the command line's business. Which system it is follows from its own
documented variables: `GITHUB_ACTIONS`, `GITLAB_CI`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from lab.analysis.model import Summary
from lab.report.content import findings, text, thresholds
from lab.report.content.findings import Group
from lab.report.markdown_text import fit

System = Literal["github", "gitlab", "none"]
# GitHub takes 1 MiB of step summary per step, and shows ten annotations of a kind per step.
STEP_SUMMARY_BYTES = 1_000_000
MOST_ANNOTATIONS = 10
_COMMAND_OF = {
    "invalid": "error",
    "fail": "error",
    "unknown": "warning",
    "suspect": "warning",
    "limit": "notice",
    "expected": "notice",
}


def detect(environment: Mapping[str, str]) -> System:
    """Which CI system this is, by its own variables."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return "github"
    return "gitlab" if environment.get("GITLAB_CI") == "true" else "none"


def step_summary(report: str) -> str:
    """Markdown to append to the file that GITHUB_STEP_SUMMARY names: `report.md` within its limit."""
    return fit([report.splitlines()], STEP_SUMMARY_BYTES)


def workflow_commands(summary: Summary, file: str | None = None) -> str:
    """GitHub annotations as workflow commands, one per check and level, worst first, at most ten of a kind.

    `file` is the scenario's path, to which GitHub then ties them.
    """
    lines = list(_commands(summary, file))
    return "\n".join([*lines, ""]) if lines else ""


def _commands(summary: Summary, file: str | None) -> Iterator[str]:
    told: dict[str, int] = {}
    for group in findings.groups(summary):
        command = _COMMAND_OF[group.word]
        told[command] = told.get(command, 0) + 1
        if told[command] <= MOST_ANNOTATIONS:
            yield _command(command, f"{summary.scenario}: {group.check}", _words(group), file)
    for threshold in summary.thresholds:
        if not threshold.ok:
            says = "did not hold" if threshold.told else "cannot be decided"
            words = f"{says}: {thresholds.words(threshold)}"
            yield _command("error", f"{summary.scenario}: threshold", words, file)


def _command(command: str, title: str, message: str, file: str | None) -> str:
    properties = {"file": file, "title": title} if file else {"title": title}
    shown = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{command} {shown}::{_data(message)}"


def _words(group: Group) -> str:
    more = f" {group.more}" if group.more else ""
    return f"{group.first}{more}" + (f" → {group.do}" if group.do else "")


def _data(value: str) -> str:
    """Escaped as the toolkit of GitHub Actions does: text cannot start a command of its own."""
    return text.clean(value).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def gitlab_section(name: str, title: str, body: str, at_s: int) -> str:
    """Return a section of GitLab's job log, collapsed. `at_s` is the Unix time for its markers."""
    start = f"\x1b[0Ksection_start:{at_s}:{_section(name)}[collapsed=true]\r\x1b[0K{text.clean(title)}"
    return f"{start}\n{body.rstrip()}\n\x1b[0Ksection_end:{at_s}:{_section(name)}\r\x1b[0K\n"


def _section(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in name)
