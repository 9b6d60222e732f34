"""What a run is: manifest.json, with the plan, the machine, the versions, and how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from lab.common.trial_key import TrialKey
from lab.results.base import Count, FolderName, Number, Point, RecordModel
from lab.results.node import Aborted, CpuPlacement


def _trial_id(text: str) -> str:
    TrialKey.parse(text)
    return text


TrialId = Annotated[str, AfterValidator(_trial_id)]


class PlannedTrial(RecordModel):
    """One trial of the plan. `source`, of merged runs: the id of the run that it comes from."""

    id: TrialId
    server: str
    repeat: Count
    point: Point
    source: str | None = None

    @model_validator(mode="after")
    def _agrees(self) -> PlannedTrial:
        """Its id names its server and its repeat. Raises ValueError."""
        if (self.key.server, self.key.repeat) != (self.server, self.repeat):
            raise ValueError(f"{self.id} is not the id of {self.server}, repeat {self.repeat}")
        return self

    @property
    def key(self) -> TrialKey:
        """Which trial it is."""
        return TrialKey.parse(self.id)


class PlanRecord(RecordModel):
    """The trials in the order in which they were to run."""

    scenario: str | None = None
    seed: int | None = None
    trials: tuple[PlannedTrial, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> PlanRecord:
        """No trial is planned twice. Raises ValueError."""
        ids = Counter(trial.id for trial in self.trials)
        if twice := [name for name, times in ids.items() if times > 1]:
            raise ValueError(f"{twice[0]} is planned twice")
        return self


class HostFacts(RecordModel):
    """The machine. What could not be read there is None."""

    kernel: str | None = None
    machine: str | None = None
    cpu_model: str | None = None
    cpus: tuple[Count, ...] | None = None
    memory_bytes: Count | None = None
    memory_available_bytes: Count | None = None
    nofile_hard: Count | None = None
    pid_max: Count | None = None
    threads_max: Count | None = None
    max_map_count: Count | None = None
    somaxconn: Count | None = None
    conntrack_max: Count | None = None
    cgroup: str | None = None
    congestion_control: str | None = None
    swap_used_bytes: Count | None = None
    boot_id: str | None = None
    machine_id: str | None = None  # a digest of it
    governor: str | None = None  # `none`: the machine has no cpufreq
    smt: str | None = None  # on, off
    clock_source: str | None = None
    transparent_hugepages: str | None = None
    interrupt_time: str | None = None  # measured, or sampled by the tick

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """What makes figures of one machine comparable with another's."""
        return (self.machine, self.cpu_model, self.cpus, self.memory_bytes, self.kernel)


class Environment(RecordModel):
    """Versions, machine and placement. `engine` is what the container engine tells of itself."""

    lab: str | None = None
    revision: str | None = None
    python: str | None = None
    host: HostFacts | None = None
    placement: CpuPlacement | None = None
    runtime: str | None = None
    engine: Mapping[str, Any] | None = None
    images: Mapping[str, str] | None = None  # role → tag


class NeedRecord(RecordModel):
    """What the plan needed of the host, and what there was; None where nobody could tell."""

    what: str
    needed: Count
    available: Count | None = None
    remedy: str
    enough: bool


class NodeLimits(RecordModel):
    """What a node might use; None: no limit."""

    cpus: Number | None = None
    memory_bytes: Count | None = None
    pids: Count | None = None
    nofile: Count | None = None


class RunLimits(RecordModel):
    """The limits that all servers, and all workers, of the run had."""

    server: NodeLimits | None = None
    worker: NodeLimits | None = None
    server_sysctls: Mapping[str, str] | None = None
    worker_sysctls: Mapping[str, str] | None = None


class AbortedRun(Aborted):
    """The threshold that ended the run, and in which trial. `sources`: of merged runs, those it ended."""

    trial: TrialId
    sources: tuple[str, ...] | None = None


class Alternative(RecordModel):
    """One side of `lab compare --ab`: what was asked for, its commit if it is a git ref, its image."""

    asked: str
    revision: str | None = None
    image: str


class SourceRun(RecordModel):
    """One of the runs that a merged run was made of, with the ids that its trials have now."""

    run: FolderName
    argv: tuple[str, ...] | None = None
    limits: RunLimits | None = None
    environment: Environment | None = None
    trials: tuple[TrialId, ...]


class Manifest(RecordModel):
    """manifest.json. What a run did not record is None, and the check `provenance` says so."""

    schema_version: Literal[1] = 1
    run: FolderName
    scenario: FolderName
    scenario_sha256: str | None = None
    files_sha256: Mapping[str, str] = Field(default_factory=dict)  # the files that the scenario names
    question: str = ""
    rerun_of: str | None = None
    alternatives: Mapping[str, Alternative] | None = None  # of `lab compare --ab`: base and head
    argv: tuple[str, ...] | None = None
    seed: int | None = None
    plan: PlanRecord
    needs: tuple[NeedRecord, ...] = ()
    limits: RunLimits | None = None
    environment: Environment | None = None
    interrupted: bool = False
    aborted: AbortedRun | None = None
    machines: Count | None = None  # of merged runs: how many different ones
    sources: tuple[SourceRun, ...] = ()


class Repeated(RecordModel):
    """A trial that was set aside and measured again, with the reason."""

    trial: str
    says: str
