"""Asking about runs: `runs`, `report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import Exit
from lab.verbs import shared
from lab.verbs.shared import JsonOption, ResultsOption, RunArgument

if TYPE_CHECKING:
    from lab.analysis.model import Summary


def runs(results: ResultsOption = None, as_json: JsonOption = False) -> int:
    """The runs in the results folder, newest last, with their verdicts."""
    from lab import store

    rows = [
        {"run": path.name, "verdict": _verdict(path)}
        for path in store.list_runs(shared.results_folder(results))
    ]
    if as_json:
        shared.out_json(rows)
    elif rows:
        shared.out("\n".join(f"{row['verdict']:13} {row['run']}" for row in rows))
    else:
        shared.say("no runs yet: make one with `lab run SCENARIO`")
    return Exit.OK


def report(run: RunArgument = "latest", results: ResultsOption = None, as_json: JsonOption = False) -> int:
    """Rebuild every report of a run from its raw records and show the table.

    \b
    Examples:
      lab report
      lab report latest~1 --json
      lab report 20261123T07
    """
    from lab import report as reports

    folder = shared.find_run(run, results)
    summary = reports.write_all(folder)
    show_summary(summary, folder, as_json)
    return summary.exit_code


def show_summary(summary: Summary, folder: Path, as_json: bool) -> None:
    """The table on standard output and where the rest is on standard error; or summary.json."""
    if as_json:
        shared.out(summary.model_dump_json(indent=1))
    else:
        from rich.console import Console

        from lab.report.terminal import table

        table(summary, Console())
    shown = shared.relative(folder)
    shared.say(f"\nreport: {shown}/report.html   summary: {shown}/summary.json")


def _verdict(run: Path) -> str:
    """The verdict in summary.json; a run without one has not been judged, a torn file says nothing."""
    file = run / "summary.json"
    try:
        summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError:
        return "UNREADABLE"
    return str(summary.get("verdict", "UNKNOWN"))
