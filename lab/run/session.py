"""One run: host, runtime, images, folder, experiment.

This file connects the rooms; what a room can decide is decided there.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from lab import __version__
from lab.common.cpus import cpu_list
from lab.common.notify import Notify
from lab.common.paths import ROOT
from lab.load.locust import LocustDriver
from lab.plan import host, plan
from lab.plan.capacity import Placement, place, plan_capacity
from lab.plan.prepared import Prepared
from lab.results import store
from lab.results.manifest import Manifest
from lab.results.node import Calibration
from lab.results.record import TrialRecord
from lab.run import experiment
from lab.run.open_runtime import open_runtime, require_allowed
from lab.runtime import Runtime
from lab.scenario.resolve import Resolved

ORCHESTRATOR_NICE = 10  # nice(2) of this process while it samples beside a load


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    scenario: Path
    runtime: str
    results: Path
    argv: Sequence[str]
    only: tuple[str, ...] = ()
    trusted: bool = False
    rerun_of: str | None = None
    alternatives: Mapping[str, Any] | None = None
    calibrate: bool = True
    repeat_disturbed: bool = True
    announce_page: Callable[[str], None] | None = None  # None: no web UI


def prepare(resolved: Resolved, only: tuple[str, ...] = ()) -> Prepared:
    """Expand the plan and compute its needs on this host. Raises UsageError.

    Limits are those of the whole scenario even if only some of its servers run, so that runs of its parts (a
    CI matrix) can be compared; the needs are those of what runs.
    """
    expanded = plan.expand(resolved, only)
    facts = host.read()
    whole = plan_capacity(plan.expand(resolved), facts)
    capacity = replace(whole, requirements=plan_capacity(expanded, facts).requirements)
    return Prepared(resolved, expanded, facts, capacity, place(facts, resolved.scenario))


def require(prepared: Prepared, request: Request) -> None:
    """Refuse what can be refused before anything starts. Raises UsageError or HostCannot."""
    require_allowed(request.runtime, prepared, request.trusted)
    prepared.capacity.require()


def run(prepared: Prepared, request: Request, watcher: experiment.Watcher, notify: Notify) -> Path:
    """Run every trial, write the run's folder and return it. Reports are made from the folder later."""
    from lab.run.abort import AbortGate

    require(prepared, request)
    with ExitStack() as stack:
        runtime, facts = stack.enter_context(
            open_runtime(request.runtime, prepared, notify, trusted=request.trusted)
        )
        folder = store.RunFolder.create(request.results, prepared.resolved.scenario.name)
        notify(f"run {folder.id} on the {runtime.name} runtime")
        manifest = _manifest(folder, prepared, request, facts)
        _write_plan(folder, prepared, request, manifest)
        page = stack.enter_context(_page(request, runtime))
        laboratory = experiment.Laboratory(
            runtime=runtime,
            driver=LocustDriver(),
            links=_links(),
            capacity=prepared.capacity,
            placement=prepared.placement,
            addressing=partial(runtime.addressing, prepared.resolved.folder),
            watcher=watcher,
            calibrate=_calibrator(prepared, request, runtime, folder, notify),
            disturbed=_disturbed if request.repeat_disturbed else no_retry,
            gate=AbortGate(),
            page=page,
            real_time=prepared.resolved.settings.real_time,
        )
        stack.enter_context(_orchestrator_aside(prepared.placement, runtime))
        ended_early = experiment.run(prepared.plan, folder, laboratory)
    if ended_early:
        folder.write("manifest.json", manifest.replaced(**ended_early).to_json())
    folder.point_latest()
    return folder.path


def _calibrator(
    prepared: Prepared, request: Request, runtime: Runtime, folder: store.RunFolder, notify: Notify
) -> Callable[[plan.Trial], Calibration]:
    from lab.engine import images
    from lab.run import calibration

    if not request.calibrate:
        return calibration.skipped
    if not runtime.isolated:
        return calibration.not_isolated
    return calibration.Calibrator(
        runtime=runtime,
        driver=LocustDriver(),
        addressing=partial(runtime.addressing, prepared.resolved.folder),
        host=prepared.host,
        placement=prepared.placement,
        versions={name: images.tag(name, prepared.host.machine) for name in ("server", "swarm")},
        folder=folder.path,
        say=notify,
        real_time=prepared.resolved.settings.real_time,
    )


def _page(request: Request, runtime: Runtime) -> AbstractContextManager[experiment.ServedUi]:
    from lab.run.web_ui import NoUi, ServedUi

    if request.announce_page is None:
        return nullcontext(NoUi())
    return ServedUi(request.announce_page, isolated=runtime.isolated)


def no_retry(record: TrialRecord, folder: Path) -> None:
    """Measure no trial again (--no-repeats). The findings still name what disturbed it."""


def _disturbed(record: TrialRecord, folder: Path) -> str | None:
    """Return why the trial in `folder` should be measured again, by its checks; None if it should not."""
    from lab.analysis import checks

    series, _ = store.read_series(folder / "series.csv")
    return checks.disturbed(replace(record, series=series))


@contextmanager
def _orchestrator_aside(placement: Placement, runtime: Runtime) -> Iterator[None]:
    """Keep this process off the server's CPUs while trials run, and let the swarm go first (nice(2)).

    Child processes would inherit the priority: a runtime whose nodes are children keeps the usual one.
    """
    cpus, priority = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    os.sched_setaffinity(0, cpu_list(placement.swarm))
    if not runtime.nodes_are_children:
        os.setpriority(os.PRIO_PROCESS, 0, max(priority, ORCHESTRATOR_NICE))
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)
        if os.geteuid() == 0:  # only root may raise a priority again (setpriority(2))
            os.setpriority(os.PRIO_PROCESS, 0, priority)


def _links() -> experiment.Links:
    from lab.impair.trial import TrialLinks

    return TrialLinks()


def _write_plan(folder: store.RunFolder, prepared: Prepared, request: Request, manifest: Manifest) -> None:
    folder.write("scenario.yaml", request.scenario.read_text(encoding="utf-8"))
    for name, file in prepared.files().items():
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        folder.write(name, file.read_text(encoding="utf-8"))
    values = yaml.safe_dump(prepared.resolved.data, sort_keys=False, allow_unicode=True)
    folder.write("scenario.resolved.yaml", values)  # `lab rerun` runs it
    folder.write("scenario.resolved.json", prepared.resolved.scenario.model_dump(mode="json"))
    folder.write("plan.json", prepared.plan.to_json())
    folder.write("manifest.json", manifest.to_json())
    folder.event("run_started", run=folder.id)


def _manifest(
    folder: store.RunFolder, prepared: Prepared, request: Request, facts: Mapping[str, Any]
) -> Manifest:
    facts_of_run = {
        "schema_version": 1,
        "run": folder.id,
        "scenario": prepared.resolved.scenario.name,
        "scenario_sha256": _sha256(request.scenario),
        "files_sha256": {name: _sha256(path) for name, path in prepared.files().items()},
        "question": prepared.resolved.scenario.question,
        "rerun_of": request.rerun_of,
        "alternatives": request.alternatives,
        "argv": list(request.argv),
        "seed": prepared.resolved.scenario.seed,
        "plan": prepared.plan.to_json(),
        "needs": [{**vars(need), "enough": need.enough} for need in prepared.capacity.requirements],
        "limits": {
            "server": vars(prepared.capacity.server_limits),
            "worker": vars(prepared.capacity.worker_limits),
            "server_sysctls": prepared.capacity.server_sysctls,
            "worker_sysctls": prepared.capacity.worker_sysctls,
        },
        "environment": {**environment(prepared), **facts},
        "interrupted": False,
    }
    return Manifest.model_validate(facts_of_run)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def environment(prepared: Prepared) -> dict[str, Any]:
    """Return what figures depend on and is known before a runtime is opened: the lab and this host."""
    return {
        "lab": __version__,
        "revision": _revision(),
        "python": platform.python_version(),
        "host": prepared.host.to_json(),
        "placement": vars(prepared.placement),
    }


def _revision() -> str | None:
    """Return the lab's git revision, with `+changes` if the work tree differs; None outside a checkout."""
    git = ["git", "-C", str(ROOT)]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
            env=environment,
        )
        changes = subprocess.run(
            [*git, "status", "--porcelain", "-uno"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
