"""Measure: `run`, `rerun`, `plan`."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.common.errors import Exit, LabError, worst
from lab.common.paths import LAB_YAML
from lab.verbs import shared, streams
from lab.verbs.publishing import require_known, show_summary
from lab.verbs.shared import (
    CiOption,
    JsonOption,
    NoCalibrationOption,
    NoRepeatsOption,
    ResultsOption,
    RunArgument,
    RuntimeOption,
    ScenarioArgument,
    ServerOption,
    SetOption,
    TrustedOption,
    UiOption,
)

if TYPE_CHECKING:
    from rich.console import Console

    from lab.impair.tc_plan import TcPlan
    from lab.plan.prepared import Prepared
    from lab.run import session


def run(
    scenario: ScenarioArgument,
    runtime: RuntimeOption = None,
    overrides: SetOption = None,
    server: ServerOption = None,
    results: ResultsOption = None,
    trusted: TrustedOption = False,
    no_calibration: NoCalibrationOption = False,
    no_repeats: NoRepeatsOption = False,
    ui: UiOption = False,
    as_json: JsonOption = False,
    ci: CiOption = "auto",
) -> int:
    """Run a scenario, or every scenario of a folder, and report the results.

    \b
    Examples:
      lab run smoke
      lab run c10k --server epoll_lt --set swarm.users=1000
      lab run mine.yaml --runtime local --json > summary.json
      lab run smoke --ui
    """

    def one(name: str) -> int:
        path, resolved = shared.load(name, overrides, runtime)
        request = _request(path, resolved.settings.runtime, shared.results_folder(results, resolved))
        request = replace(request, trusted=trusted, calibrate=not no_calibration)
        request = replace(request, repeat_disturbed=not no_repeats)
        request = replace(request, announce_page=shared.print_err if ui else None)
        return measure(session.prepare(resolved, tuple(server or ())), request, as_json, ci)

    from lab.run import session

    require_known(ci)
    names = shared.scenarios_in(scenario)
    return one(scenario) if names is None else _each(names, one)


def _each(names: list[str], run_one: Callable[[str], int]) -> int:
    """Run every scenario of a folder, even after one fails; return the most important exit code."""
    codes: list[int] = []
    for number, name in enumerate(names, 1):
        shared.print_err(f"[{number}/{len(names)}] {name}")
        try:
            codes.append(run_one(name))
        except LabError as error:
            shared.print_err(f"lab: {error}")
            codes.append(error.exit_code)
        if codes[-1] == Exit.INTERRUPTED:
            break
    return worst(codes)


def rerun(
    run: RunArgument = "latest",
    runtime: RuntimeOption = None,
    results: ResultsOption = None,
    trusted: TrustedOption = False,
    no_calibration: NoCalibrationOption = False,
    no_repeats: NoRepeatsOption = False,
    as_json: JsonOption = False,
    ci: CiOption = "auto",
) -> int:
    """Run a stored run again with its own values, and say what differs now.

    \b
    Examples:
      lab rerun latest
      lab rerun 20261123T071705Z-c10k-3f9a.tar.gz
    """
    from lab.results.fact_labels import label
    from lab.run import rerun as stored
    from lab.run import session
    from lab.scenario import resolve

    require_known(ci)
    folder = shared.find_run(run, results)
    recorded = stored.read(folder, resolve.load_settings(LAB_YAML))
    prepared = session.prepare(recorded.resolved, recorded.servers)
    request = _request(recorded.scenario_file, runtime or recorded.runtime, shared.results_folder(results))
    request = replace(request, trusted=trusted, rerun_of=folder.name, calibrate=not no_calibration)
    request = replace(request, repeat_disturbed=not no_repeats)
    session.require(prepared, request)
    for what, then, now in stored.differences(
        recorded.environment, session.environment(prepared), known=False
    ):
        shared.print_err(f"differs: {label(what)}: was {then}, is {now}")
    code = measure(prepared, request, as_json, ci)
    shared.print_err(f"this was a rerun of {folder.name}; to compare them: lab compare {folder.name} latest")
    return code


def _request(scenario: Path, runtime: str, results: Path) -> session.Request:
    from lab.run import session

    return session.Request(scenario=scenario, runtime=runtime, results=results, argv=sys.argv[1:])


def measure(prepared: Prepared, request: session.Request, as_json: bool, ci: str) -> int:
    """Run a prepared run with a live view, write its reports, show its table."""
    from lab import report

    folder = record(prepared, request)
    summary = report.write_all(folder)
    show_summary(summary, folder, as_json, ci)
    return summary.exit_code


def record(prepared: Prepared, request: session.Request) -> Path:
    """Run a prepared run with a live view; return its folder."""
    from lab.report.content.plan_text import trial_s
    from lab.report.live.view import make_view
    from lab.run import session
    from lab.verbs.signals import interrupting

    console = streams.console(stderr=True)
    each_s = statistics.fmean(map(trial_s, prepared.plan.trials))
    view = make_view(console, plain=_wants_lines(console), trial_s=each_s)
    with interrupting(), view:
        return session.run(prepared, request, view, view.step)


def _wants_lines(console: Console) -> bool:
    """Return whether to print line by line: no terminal, one without cursor movement, or a CI log."""
    return not console.is_terminal or console.is_dumb_terminal or "CI" in os.environ


def plan(
    scenario: ScenarioArgument,
    overrides: SetOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show what a run would do and need, and its links as tc commands; start nothing.

    The exit code is 3 if this host lacks something that the run needs.

    \b
    Examples:
      lab plan c10k
      lab plan c10k --set swarm.users=50000
    """
    from lab.impair import tc_plan
    from lab.report.content import plan_text
    from lab.run import session

    _, resolved = shared.load(scenario, overrides)
    prepared = session.prepare(resolved, tuple(server or ()))
    links = _tc_plans(prepared)
    if as_json:
        shared.print_json({**plan_text.as_json(prepared), "links": [each.to_json() for each in links]})
    else:
        text = tc_plan.as_text(links, len(prepared.plan.trials))
        shared.print_out(plan_text.as_text(prepared) + (f"\n\n{text}" if text else ""))
    prepared.capacity.require()
    return Exit.OK


def _tc_plans(prepared: Prepared) -> list[TcPlan]:
    from lab.doctor.facts import shaping_here
    from lab.impair.answers import Capabilities
    from lab.impair.tc_plan import tc_plans

    if not prepared.resolved.scenario.links:
        return []
    shaping, why_unknown = shaping_here()
    can = None if shaping is None else Capabilities.model_validate(shaping)
    return tc_plans(prepared.plan, can, why_unknown)
