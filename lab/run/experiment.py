"""The experiment: runs every trial of a plan, from its topology to its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lab import collect
from lab.collect import Recorder
from lab.collect.cpu_sets import read_back
from lab.collect.marks import mark_load
from lab.common.clock import mono_ms
from lab.common.errors import Exit, HostCannot, LabError, UsageError
from lab.load import Driver, OnEvent
from lab.plan.capacity import Capacity, Placement
from lab.plan.plan import Plan, Trial
from lab.plan.render import Addressing, render
from lab.plan.topology import Topology
from lab.results.link import LinkRecord, When
from lab.results.node import Aborted, Calibration
from lab.results.record import TrialRecord
from lab.results.store import RunFolder
from lab.results.swarm_event import LoadEvent, PhaseStart
from lab.run import server_state
from lab.run.real_time import RealTime
from lab.run.record_builder import Gauges, RecordBuilder
from lab.run.timeline import ChangesLinks, Timeline
from lab.run.web_ui import NoUi
from lab.runtime import Deployment, Runtime

STOP_GRACE_S = 5.0


class Watcher(Protocol):
    """Follows a run: the terminal's view."""

    def trial_started(self, index: int, total: int, trial_id: str) -> None:
        """Tell that a trial begins; `index` counts from 1."""

    def step(self, text: str) -> None:
        """Tell a step of the trial: starting, verifying, impairing."""

    def event(self, event: LoadEvent) -> None:
        """Tell that a phase of the load begins, the load progresses, or a worker is lost."""

    def gauge(self, name: str, value: float) -> None:
        """Tell a figure of this moment: `server_cpu_cores`, `server_memory_bytes`."""

    def trial_ended(self, record: TrialRecord) -> None:
        """Its record is written."""


class Abort(Protocol):
    """Thresholds that end the run."""

    def live(self, trial: Trial) -> Callable[[LoadEvent], Aborted | None]:
        """Take the events of the trial's load; return which threshold does not hold, if any."""

    def at_end(self, record: TrialRecord, folder: Path) -> Aborted | None:
        """Return the first threshold that an ended trial does not hold; its series are in `folder`."""


class Links(Protocol):
    """Applies the links of a trial to a deployment (lab/impair)."""

    def applied(self, deployment: Deployment, trial: Trial) -> AbstractContextManager[AppliedLinks]:
        """Impair every link; raises HostCannot where what was asked for cannot be applied."""


class AppliedLinks(ChangesLinks, Protocol):
    """Links that are in force."""

    def probe(self, when: When) -> None:
        """Measure the links before, during or after the load."""

    def phase(self, name: str) -> None:
        """Show that a phase of the load begins."""

    def records(self) -> Sequence[LinkRecord]:
        """Return the record of every link so far."""


class ServedUi(Protocol):
    """Locust's own page, where it is wanted (lab/run/web_ui.py)."""

    def added(self, topology: Topology) -> Topology:
        """Return the same topology, whose masters serve it."""

    def shown(self, deployment: Deployment) -> AbstractContextManager[None]:
        """Make it reachable within the `with`. Raises HostCannot where it cannot be."""


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
    calibrate: Callable[[Trial], Calibration]
    disturbed: Callable[[TrialRecord, Path], str | None]
    gate: Abort
    page: ServedUi = field(default_factory=NoUi)
    real_time: bool = True


def run(plan: Plan, folder: RunFolder, lab: Laboratory) -> dict[str, Any]:
    """Run every trial and write its record. Returns how it ended early, for the manifest, or nothing.

    A trial that fails is recorded with its reason and the next one runs; a host that cannot, or a wrong
    scenario, ends the run (HostCannot, UsageError), and so does a threshold with `abort_on_fail`. One that
    was disturbed is kept aside and measured again, once: the second record stands, disturbed or not.
    """
    spare = plan.repeats_allowed
    for index, trial in enumerate(plan.trials, 1):
        lab.watcher.trial_started(index, len(plan.trials), trial.id)
        record = attempt(plan, trial, folder, lab)
        ask = spare and record.exit_code != Exit.INTERRUPTED
        why = lab.disturbed(record, folder.trial(trial.folder)) if ask else None
        if why is not None:
            spare -= 1
            folder.set_aside(trial.folder, trial.id, why)
            lab.watcher.step(f"disturbed, so measured again: {why}")
            lab.watcher.trial_started(index, len(plan.trials), trial.id)
            record = attempt(plan, trial, folder, lab)
        if record.exit_code == Exit.INTERRUPTED:
            return {"interrupted": True}
        if aborted := record.aborted or lab.gate.at_end(record, folder.trial(trial.folder)):
            lab.watcher.step(f"the run ends here: {aborted.says}")
            return {"aborted": {"trial": trial.id, **aborted.to_json()}}
    return {}


def attempt(plan: Plan, trial: Trial, folder: RunFolder, lab: Laboratory) -> TrialRecord:
    """Run one trial and write its record, however it ended. Raises HostCannot, UsageError."""
    folder.event("trial_started", trial=trial.id)
    builder = RecordBuilder(trial)
    try:
        builder.calibration = lab.calibrate(trial)
        run_trial(plan, trial, folder, lab, builder)
    except (HostCannot, UsageError):
        raise
    except TrialAborted as error:
        builder.fail(str(error), error.exit_code)
        builder.aborted = error.found
    except LabError as error:
        builder.fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        builder.fail("interrupted", Exit.INTERRUPTED)
    record = builder.record(lab.placement)
    folder.trial(trial.folder)
    folder.write(f"trials/{trial.folder}/record.json", record.to_json())
    folder.event("trial_ended", trial=trial.id, status=record.status, reason=record.reason)
    lab.watcher.trial_ended(record)
    return record


def run_trial(plan: Plan, trial: Trial, folder: RunFolder, lab: Laboratory, builder: RecordBuilder) -> None:
    """One trial: up, verify, impair, load and record, down. `builder` takes what is known as it comes."""
    path, say = folder.trial(trial.folder), lab.watcher.step
    topology = render(
        folder.id, plan, trial, lab.capacity, lab.placement, lab.addressing(), real_time=lab.real_time
    )
    folder.write(f"trials/{trial.folder}/topology.json", topology.to_json())
    with ExitStack() as stack:
        say("starting the server and the swarm")
        deployment = stack.enter_context(lab.runtime.up(lab.page.added(topology), path))
        stack.callback(builder.collect_ends, deployment)
        builder.runtime, builder.stamps = deployment.runtime, deployment.stamps
        builder.ready = server_state.ready(deployment)
        builder.cpu_sets += read_back(deployment, topology, "before")
        builder.real_time = real_time = RealTime(deployment)

        collectors, notes = collect.for_trial(deployment, topology, real_time.processes)
        ask = stack.enter_context(server_state.asking(deployment, builder.ready))
        gauges = Gauges(lab.watcher.gauge)
        recorder = stack.enter_context(
            Recorder(deployment, collectors, path / "series.csv", notes, gauges, ask)
        )
        builder.recorder = recorder

        say("verifying right answers")
        asker = trial.scenario.swarm.worker_nodes[0]
        builder.verify.append(server_state.require_right(server_state.verify(deployment, asker, "before")))

        links = stack.enter_context(lab.links.applied(deployment, trial))
        builder.links = links
        links.probe("before")

        stack.enter_context(lab.page.shown(deployment))
        timeline = stack.enter_context(Timeline(trial, deployment, links, say))
        builder.timeline = timeline
        on_event = _on_load_event(recorder, timeline, links, trial, lab)
        recorder.mark("ramp", mono_ms())  # what the server holds before the first connection
        builder.load = lab.driver.run(deployment, trial, on_event)
        real_time.read_again()

        if not timeline.killed("server"):
            server_state.require_alive(deployment)
            # Closing them is a burst of packets that would delay the probes.
            server_state.wait_connections_closed(deployment, ask)
            links.probe("after")
            builder.verify.append(server_state.verify(deployment, asker, "after"))
        builder.cpu_sets += read_back(deployment, topology, "after")
        say("stopping")
        builder.server_stopped = deployment.exited("server") is None
        deployment.stop("server", STOP_GRACE_S)


class TrialAborted(LabError):
    """A threshold with `abort_on_fail` did not hold while the load ran."""

    exit_code = Exit.THRESHOLD

    def __init__(self, found: Aborted) -> None:
        super().__init__(f"aborted: {found.says}")
        self.found = found


def _on_load_event(
    recorder: Recorder, timeline: Timeline, links: AppliedLinks, trial: Trial, lab: Laboratory
) -> OnEvent:
    """Pass the swarm's events on; have the marks sampled exactly, and timed events begin.

    What it returns raises TrialAborted once a threshold has ended the run.
    """
    crossed = lab.gate.live(trial)

    def take(event: LoadEvent) -> None:
        if isinstance(event, PhaseStart):
            links.phase(event.phase)
            if event.phase == "warmup":
                phases = trial.scenario.swarm.phases
                mark_load(recorder, event.starts_mono_ms, phases.warmup, phases.measure)
            if event.phase == "measure":
                timeline.begin(event.starts_mono_ms)
        lab.watcher.event(event)
        if found := crossed(event):
            raise TrialAborted(found)

    return take
