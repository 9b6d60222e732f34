"""Show the results of a run: a table or JSON, a summary for GitHub, a log section for GitLab."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.common.errors import UsageError
from lab.verbs import streams
from lab.verbs.shared import relative
from lab.verbs.streams import print_err, print_out

if TYPE_CHECKING:
    from lab.analysis.model import Summary

SYSTEMS = ("auto", "github", "gitlab", "none")


def show_summary(summary: Summary, folder: Path, as_json: bool, ci: str = "auto") -> None:
    """Print the table (or summary.json), then on standard error the paths; report to the CI system `ci`."""
    if as_json:
        print_out(summary.model_dump_json(indent=1))
    else:
        from lab.report.terminal import table

        table(summary, streams.console())
    shown = relative(folder)
    print_err(f"\nreport: {shown}/report.html   summary: {shown}/summary.json")
    publish(ci, folder, summary)


def require_known(system: str) -> None:
    """Raise UsageError for a CI system that the lab does not know: before anything runs."""
    if system not in SYSTEMS:
        raise UsageError(f"--ci {system}: choose one of {', '.join(SYSTEMS)}")


def publish(system: str, folder: Path, summary: Summary) -> None:
    """Report the run in `folder` to a CI system; `auto` finds it by its variables. Raises UsageError."""
    from lab.report import ci

    require_known(system)
    chosen = ci.detect(os.environ) if system == "auto" else system
    if chosen == "github":
        _github(folder, summary)
    elif chosen == "gitlab":
        body = (folder / "report.md").read_text(encoding="utf-8")
        title = f"{summary.verdict}: {summary.scenario}"
        print_err(ci.gitlab_section(f"lab_{folder.name}", title, body, int(time.time())))


def _github(folder: Path, summary: Summary) -> None:
    from lab.report import ci

    if annotations := ci.workflow_commands(summary):
        # GitHub's runner reads commands from both streams; standard output is for results.
        print_err(annotations.rstrip())
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        report = (folder / "report.md").read_text(encoding="utf-8")
        with Path(file).open("a", encoding="utf-8") as file_:
            file_.write(ci.step_summary(report))
