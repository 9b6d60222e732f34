"""Show a run: a table or JSON to its reader, a summary to GitHub, a log section to GitLab."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.common.errors import UsageError
from lab.verbs import streams
from lab.verbs.shared import out, relative, say

if TYPE_CHECKING:
    from lab.analysis.model import Summary

SYSTEMS = ("auto", "github", "gitlab", "none")


def show_summary(summary: Summary, folder: Path, as_json: bool, ci: str = "auto") -> None:
    """The table (or summary.json) on standard output, on standard error where the rest is; and for `ci`."""
    if as_json:
        out(summary.model_dump_json(indent=1))
    else:
        from lab.report.terminal import table

        table(summary, streams.console())
    shown = relative(folder)
    say(f"\nreport: {shown}/report.html   summary: {shown}/summary.json")
    publish(ci, folder, summary)


def publish(system: str, folder: Path, summary: Summary) -> None:
    """Tell `system` (auto: the one whose variables are set) of the run in `folder`. Raises UsageError."""
    from lab.report import ci

    if system not in SYSTEMS:
        raise UsageError(f"--ci {system}: there are {', '.join(SYSTEMS)}")
    chosen = ci.detect(os.environ) if system == "auto" else system
    if chosen == "github":
        _github(folder, summary)
    elif chosen == "gitlab":
        body = (folder / "report.md").read_text(encoding="utf-8")
        title = f"{summary.verdict}: {summary.scenario}"
        say(ci.gitlab_section(f"lab_{folder.name}", title, body, int(time.time())))


def _github(folder: Path, summary: Summary) -> None:
    from lab.report import ci
    from lab.results import store

    if annotations := ci.workflow_commands(summary):
        say(
            annotations.rstrip()
        )  # the runner reads commands from both streams; ours keeps stdout for results
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(file).open("a", encoding="utf-8") as out:
            out.write(ci.step_summary(store.read_run(folder), summary))
