"""Running: `run`, `plan`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from lab.errors import Exit
from lab.verbs import shared
from lab.verbs.shared import (
    JsonOption,
    ResultsOption,
    RuntimeOption,
    ScenarioArgument,
    ServerOption,
    SetOption,
    TrustedOption,
)

if TYPE_CHECKING:
    from lab import session


def run(
    scenario: ScenarioArgument,
    runtime: RuntimeOption = None,
    overrides: SetOption = None,
    server: ServerOption = None,
    results: ResultsOption = None,
    trusted: TrustedOption = False,
    as_json: JsonOption = False,
) -> int:
    """Run a scenario and report.

    \b
    Examples:
      lab run smoke
      lab run c10k --server epoll_lt --set swarm.users=1000
      lab run mine.yaml --runtime local --json > summary.json
    """
    from lab import session

    path, resolved = shared.load(scenario, overrides, runtime)
    request = session.Request(
        scenario=path,
        runtime=resolved.settings.runtime,
        results=shared.results_folder(results, resolved),
        argv=sys.argv[1:],
        trusted=trusted,
    )
    return measure(session.prepare(resolved, tuple(server or ())), request, as_json)


def measure(prepared: session.Prepared, request: session.Request, as_json: bool) -> int:
    """Run what is prepared under a live view, write its reports, show its table."""
    from rich.console import Console

    from lab import report, session
    from lab.report.live import make_view
    from lab.verbs.results import show_summary
    from lab.verbs.signals import interrupting

    console = Console(stderr=True)
    view = make_view(console, plain=not console.is_terminal or "CI" in os.environ)
    with interrupting(), view:
        folder = session.run(prepared, request, view, view.step)
    summary = report.write_all(folder)
    show_summary(summary, folder, as_json)
    return summary.exit_code


def plan(
    scenario: ScenarioArgument,
    overrides: SetOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> int:
    """What a run would do and need; nothing is started. Exit 3 where this host cannot hold it.

    \b
    Examples:
      lab plan c10k
      lab plan c10k --set swarm.users=50000
    """
    from lab import session
    from lab.report import planned

    _, resolved = shared.load(scenario, overrides)
    prepared = session.prepare(resolved, tuple(server or ()))
    if as_json:
        shared.out_json(planned.as_json(prepared))
    else:
        shared.out(planned.as_text(prepared))
    prepared.capacity.require()
    return Exit.OK
