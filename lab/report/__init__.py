"""Reports: pure functions of a Run and its Summary. `write_all` makes every file from the raw records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.analysis.model import Summary


def write_all(folder: Path) -> Summary:
    """Judge the records, write summary.json and every report beside them. Same input, same bytes."""
    from lab.analysis.summary import summarise
    from lab.analysis.verdict import judge
    from lab.report.html import html
    from lab.report.junit import junit
    from lab.report.markdown import markdown
    from lab.results import store

    run = store.read_run(folder)
    summary = judge(run, summarise(run))
    store.write_atomically(folder / "summary.json", store.to_json(summary.model_dump(mode="json")))
    store.write_atomically(folder / "report.md", markdown(run, summary))
    store.write_atomically(folder / "report.html", html(run, summary))
    store.write_atomically(folder / "junit.xml", junit(run, summary))
    return summary
