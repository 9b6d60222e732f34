"""The experiment: every trial of a plan, from a topology to a record. The whole story is on this page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lab import collect
from lab.collect import Recorder
from lab.common.clock import mono_ms
from lab.common.errors import Exit, HostCannot, LabError, NoMeasurement, UsageError
from lab.load import Driver
from lab.plan.capacity import Capacity, Placement
from lab.plan.plan import Plan, Trial
from lab.plan.render import Addressing, render
from lab.plan.topology import Topology
from lab.results.link import LinkRecord, When
from lab.results.record import TrialRecord
from lab.results.store import RunFolder
from lab.run.record_builder import Draft, Gauges
from lab.run.timeline import ChangesLinks, Timeline
from lab.run.web_ui import NoPage
from lab.runtime import Deployment, Event, Runtime

SERVER_READY_S = 30.0
VERIFY_S = 30.0
GONE_S = 5.0
LOOK_S = 0.05
STOP_GRACE_S = 5.0


class Watcher(Protocol):
    """Whoever wants to see the run go by (the terminal)."""

    def trial_started(self, index: int, total: int, trial_id: str) -> None:
        """A trial begins; `index` counts from 1."""

    def step(self, text: str) -> None:
        """A step of the trial: starting, verifying, impairing."""

    def event(self, event: Event) -> None:
        """The swarm's phase and progress events."""

    def gauge(self, name: str, value: float) -> None:
        """A figure of this moment: `server_cpu_cores`, `server_memory_bytes`."""

    def trial_ended(self, record: TrialRecord) -> None:
        """Its record is written."""


class Gate(Protocol):
    """Thresholds that end the run. What was crossed: `metric`, `threshold`, `value`, `says`."""

    def live(self, trial: Trial) -> Callable[[Mapping[str, Any]], Mapping[str, Any] | None]:
        """Takes the events of the trial's load; tells what was crossed, if anything."""

    def at_end(self, record: TrialRecord, folder: Path) -> Mapping[str, Any] | None:
        """What a trial that has ended crossed; its series are in `folder`."""


class Links(Protocol):
    """Applies the links of a trial to a deployment (lab/impair)."""

    def applied(self, deployment: Deployment, trial: Trial) -> AbstractContextManager[AppliedLinks]:
        """Impair every link; raises HostCannot where what was asked for cannot be applied."""


class AppliedLinks(ChangesLinks, Protocol):
    """Links that are in force."""

    def probe(self, when: When) -> None:
        """Measure the links before, during or after the load."""

    def phase(self, name: str) -> None:
        """A phase of the load begins."""

    def records(self) -> Sequence[LinkRecord]:
        """Return the record of every link so far."""


class Page(Protocol):
    """Locust's own page, where it is wanted (lab/run/web_ui.py)."""

    def added(self, topology: Topology) -> Topology:
        """The same topology, whose masters serve it."""

    def shown(self, deployment: Deployment) -> AbstractContextManager[None]:
        """It can be reached within the `with`; raises HostCannot where it cannot."""


@dataclass(frozen=True)
class Laboratory:
    """What trials are run with."""

    runtime: Runtime
    driver: Driver
    links: Links
    capacity: Capacity
    placement: Placement
    addressing: Callable[[], Addressing]
    watcher: Watcher
    calibrate: Callable[[Trial], Mapping[str, Any]]
    disturbed: Callable[[TrialRecord, Path], str | None]
    gate: Gate
    page: Page = field(default_factory=NoPage)


def run(plan: Plan, folder: RunFolder, lab: Laboratory) -> dict[str, Any]:
    """Run every trial and write its record. Returns how it ended early, for the manifest, or nothing.

    A trial that fails is recorded with its reason and the next one runs; a host that cannot, or a wrong
    scenario, ends the run (HostCannot, UsageError), and so does a threshold with `abort_on_fail`. One that
    was disturbed is kept aside and measured again.
    """
    spare = plan.repeats_allowed
    for index, trial in enumerate(plan.trials, 1):
        while True:
            lab.watcher.trial_started(index, len(plan.trials), trial.id)
            record = attempt(plan, trial, folder, lab)
            if record.exit_code == Exit.INTERRUPTED:
                return {"interrupted": True}
            why = lab.disturbed(record, folder.trial(trial.folder)) if spare else None
            if why is None:
                break
            spare -= 1
            folder.set_aside(trial.folder, trial.id, why)
            lab.watcher.step(f"disturbed, so measured again: {why}")
        if aborted := record.aborted or lab.gate.at_end(record, folder.trial(trial.folder)):
            lab.watcher.step(f"the run ends here: {aborted['says']}")
            return {"aborted": {"trial": trial.id, **aborted}}
    return {}


def attempt(plan: Plan, trial: Trial, folder: RunFolder, lab: Laboratory) -> TrialRecord:
    """Run one trial and write its record, however it ended. Raises HostCannot, UsageError."""
    folder.event("trial_started", trial=trial.id)
    draft = Draft(trial)
    try:
        draft.calibration = lab.calibrate(trial)
        run_trial(plan, trial, folder, lab, draft)
    except (HostCannot, UsageError):
        raise
    except Aborted as error:
        draft.fail(str(error), error.exit_code)
        draft.aborted = error.facts
    except LabError as error:
        draft.fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        draft.fail("interrupted", Exit.INTERRUPTED)
    record = draft.record(lab.placement)
    folder.trial(trial.folder)
    folder.write(f"trials/{trial.folder}/record.json", record.to_json())
    folder.event("trial_ended", trial=trial.id, status=record.status, reason=record.reason)
    lab.watcher.trial_ended(record)
    return record


def run_trial(plan: Plan, trial: Trial, folder: RunFolder, lab: Laboratory, draft: Draft) -> None:
    """One trial: up, verify, impair, load and record, down. What is learnt goes into `draft` as it comes."""
    path, say = folder.trial(trial.folder), lab.watcher.step
    topology = render(folder.id, plan, trial, lab.capacity, lab.placement, lab.addressing())
    folder.write(f"trials/{trial.folder}/topology.json", topology.to_json())
    with ExitStack() as stack:
        say("starting the server and the swarm")
        deployment = stack.enter_context(lab.runtime.up(lab.page.added(topology), path))
        stack.callback(draft.keep_what_ended, deployment)
        draft.runtime, draft.stamps = deployment.runtime, deployment.stamps
        draft.ready = deployment.wait_event("server", "ready", SERVER_READY_S)

        collectors, notes = collect.for_trial(deployment, topology)
        recorder = stack.enter_context(
            Recorder(deployment, collectors, path / "series.csv", notes, Gauges(lab.watcher.gauge))
        )
        draft.recorder = recorder

        say("verifying right answers")
        asker = trial.scenario.swarm.worker_nodes[0]
        draft.verify.append(right_answers(verify(deployment, asker, "before")))

        links = stack.enter_context(lab.links.applied(deployment, trial))
        draft.links = links
        links.probe("before")

        stack.enter_context(lab.page.shown(deployment))
        timeline = stack.enter_context(Timeline(trial, deployment, links, say))
        draft.timeline = timeline
        take = _marking(recorder, timeline, links, trial, lab)
        draft.load = lab.driver.run(deployment, trial, take)

        if not timeline.killed("server"):
            survived(deployment)
            connections_gone(deployment)  # their end is a burst that nobody's probes should meet
            links.probe("after")
            draft.verify.append(verify(deployment, asker, "after"))
        say("stopping")
        draft.server_stopped = deployment.exited("server") is None
        deployment.stop("server", STOP_GRACE_S)


def verify(deployment: Deployment, worker: str, when: str) -> Mapping[str, Any]:
    """Ask the server for right answers, from inside `worker`. Raises NoMeasurement when nobody could ask."""
    answer = deployment.exec(worker, ["python", "-m", "swarm", "verify"], VERIFY_S)
    verified = _event(answer.out, "verified")
    if verified is None:
        raise NoMeasurement(
            f"the verification itself failed (exit {answer.code}): {_last(answer.err or answer.out)}"
        )
    return {**verified, "when": when}


def connections_gone(deployment: Deployment) -> None:
    """Wait until the server says that the swarm's connections are closed, at most GONE_S.

    A server at its limit would refuse, or keep waiting, whoever asks for right answers before. One that
    prints no statistics is given the time that the swarm takes to close.
    """
    asked_ms = mono_ms()
    while mono_ms() < asked_ms + 1000 * GONE_S:
        told = [e for e in deployment.events("server") if e.get("event") == "stats"]
        if told and told[-1]["open"] == 0 and told[-1]["mono_ms"] > asked_ms:
            return
        if deployment.exited("server") is not None:
            return
        time.sleep(LOOK_S)


def right_answers(verified: Mapping[str, Any]) -> Mapping[str, Any]:
    """Nothing is timed before the answers are right. Raises NoMeasurement naming the first that is wrong."""
    for check in verified["checks"]:
        if not check["ok"]:
            raise NoMeasurement(f"wrong answers from the server: {check['name']}: {check['says']}")
    return verified


class ServerDied(LabError):
    """The server did not live through the load."""

    exit_code = Exit.THRESHOLD


class Aborted(LabError):
    """A threshold with `abort_on_fail` did not hold while the load ran. `facts`: which, and what was seen."""

    exit_code = Exit.THRESHOLD

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__(f"aborted: {facts['says']}")
        self.facts = facts


def survived(deployment: Deployment) -> None:
    """Raises ServerDied with its exit code and signal."""
    ended = deployment.exited("server")
    if ended is not None:
        how = ended.signal or f"exit code {ended.code}"
        raise ServerDied(f"the server died under load ({how}{', out of memory' if ended.oom else ''})")


def _marking(
    recorder: Recorder, timeline: Timeline, links: AppliedLinks, trial: Trial, lab: Laboratory
) -> Callable[[Mapping[str, Any]], None]:
    """Pass the swarm's events on; have both ends of the window sampled exactly, and timed events begin.

    What it returns raises Aborted once a threshold has ended the run.
    """
    crossed = lab.gate.live(trial)

    def take(event: Mapping[str, Any]) -> None:
        if event.get("event") == "phase":
            links.phase(event["phase"])
        if event.get("event") == "phase" and event.get("phase") == "measure":
            start = float(event["starts_mono_ms"])
            timeline.begin(start)
            recorder.mark(start, quiet=True)
            recorder.mark(start + 1000 * trial.scenario.swarm.phases.measure)
        lab.watcher.event(event)
        if found := crossed(event):
            raise Aborted(found)

    return take


def _event(text: str, name: str) -> dict[str, Any] | None:
    for line in text.splitlines():
        if line.startswith("{"):
            data: dict[str, Any] = json.loads(line)
            if data.get("event") == name:
                return data
    return None


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
