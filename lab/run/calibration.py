"""The generator's maximum rate on this host, with the trial's number of connections.

A rate near the maximum measures the swarm instead of the server. It is found against a null server, the
cheapest there is (an event loop whose handler answers a constant), in the load's own shape: a closed loop
sends in batches, which costs a fraction of what sends by the clock do. So an open load is asked more than the
swarm can do, and its completions are counted. Where the server, or another
process on this host, kept the swarm from saturating its CPUs, the maximum is extrapolated from the swarm's
CPU time per request, and `limited_by` says so. It is measured once for everything that it depends on, and
kept in the lab's state folder; where the host was not quiet, it serves its own run only.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lab.analysis.checks import noise
from lab.collect import Collector, Recorder
from lab.collect.cgroup import Cgroup
from lab.collect.host import HostCollector
from lab.collect.marks import mark_load
from lab.collect.orchestrator import Orchestrator
from lab.common import scheduling
from lab.common.cpus import cpu_list
from lab.common.errors import LabError, NoMeasurement
from lab.common.owner import state_dir
from lab.common.trial_key import TrialKey
from lab.load import Driver, OnEvent
from lab.plan.capacity import Placement, min_workers, plan_capacity
from lab.plan.host import Host
from lab.plan.plan import Plan, Trial
from lab.plan.render import Addressing, render
from lab.results.base import describe
from lab.results.load import LoadResult
from lab.results.node import Calibration, CpuPlacement, ServerReady, ServerStats, engine_policy
from lab.results.record import TrialRecord
from lab.results.store import read_series, to_json, write_atomically
from lab.results.swarm_event import LoadEvent, PhaseStart
from lab.run.real_time import RealTime
from lab.run.server_state import asking
from lab.runtime import Runtime
from lab.scenario import catalog
from lab.scenario.load import Load
from lab.scenario.scenario import Server

# By wire, because not every model speaks every transport.
NULL_SERVERS = {
    "http1": ("epoll_lt", "hello"),
    "echo": ("epoll_lt", "echo"),
    "greet": ("epoll_lt", "hello"),
    "datagram": ("sigio_udp", "echo"),
}
RAMP_S, WARMUP_S, MEASURE_S, COOLDOWN_S, DRAIN_S, TIMEOUT_S = 2.0, 1.0, 3.0, 1.0, 1.0, 30.0
READY_S = 30.0
# Raise it when the measurement, or the calculation on it, changes.
RECIPE = 7
# More sends by the clock than an engine can do: each takes it 10 µs and more, with its answer. What comes on
# top waits for a connection, and takes time from the rest: so not much more.
OPEN_RATE_PER_CPU_S = 60_000
# At or above this share of its CPUs a side was the bottleneck.
SATURATED = 0.9
# Changes from call to call, and does not matter.
PASSING = ("memory_available_bytes", "swap_used_bytes", "boot_id")


@dataclass
class Calibrator:
    """Returns the maximum rate of a trial's swarm: from memory, the state folder, or by measuring it."""

    runtime: Runtime
    driver: Driver
    addressing: Callable[[], Addressing]
    host: Host
    placement: Placement
    versions: Mapping[str, str]
    folder: Path
    say: Callable[[str], None]
    noise: Callable[[TrialRecord], str | None] = noise
    known: dict[str, Calibration] = field(default_factory=dict)
    real_time: bool = True

    def __call__(self, trial: Trial) -> Calibration:
        """Return the maximum rate, or why it is not known."""
        if any(group.swarm.locustfile for group in trial.scenario.swarm.all_groups):
            return Calibration(why_not="the maximum rate of Locust users of one's own is not measured")
        null = null_trial(trial, self.placement, self.host)
        expected = self.real_time and self.runtime.real_time_expected()
        key = self._key(null, scheduling.REAL_TIME if expected else scheduling.OTHER)
        if key not in self.known:
            self.known[key] = self._stored(key) or self._measured(null, key)
        return self.known[key]

    def _key(self, null: Trial, policy: str | None) -> str:
        """Return the digest of all that the maximum rate depends on; `policy` is that of the engines."""
        topology = self._topology(null, "calibration", Addressing()).to_json()
        host = {name: value for name, value in self.host.to_json().items() if name not in PASSING}
        known = {"topology": topology, "host": host, "versions": dict(self.versions), "recipe": RECIPE}
        known["policy"] = policy
        text = to_json({**known, "runtime": self.runtime.name, "placement": asdict(self.placement)})
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _topology(self, null: Trial, run: str, where: Addressing) -> Any:
        plan = Plan(null.scenario, (null,))
        limits = plan_capacity(plan, self.host)
        return render(run, plan, null, limits, self.placement, where, real_time=self.real_time)

    def _stored(self, key: str) -> Calibration | None:
        file = _file(key)
        try:
            found = Calibration.model_validate_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self.say(f"calibration: {file} cannot be read ({describe(error)}): measuring again")
            return None
        return found if found.ceiling_per_s else None

    def _measured(self, null: Trial, key: str) -> Calibration:
        """Measure and keep. A failure does not end the run: the check says unknown."""
        self.say("calibrating: the swarm's maximum rate (once for this host, load and version)")
        try:
            found = self._measure(null, key)
            if found.disturbed is None:
                file = _file(self._key(null, found.policy))  # not the expected class: the one that it had
                file.parent.mkdir(exist_ok=True)
                write_atomically(file, to_json(found.to_json()))
        except (LabError, OSError, ValueError) as error:
            self.say(f"not calibrated: {error}")
            return Calibration(why_not=str(error))
        only_now = f" (not kept: {found.disturbed})" if found.disturbed else ""
        self.say(f"the swarm's maximum rate: {found.ceiling_per_s:,.0f} requests/s{only_now}")
        return found

    def _measure(self, null: Trial, key: str) -> Calibration:
        logs = self.folder / "calibration" / key
        logs.mkdir(parents=True, exist_ok=True)
        topology = self._topology(null, self.folder.name, self.addressing())
        with self.runtime.up(topology, logs) as deployment:
            ready = ServerReady.model_validate(deployment.wait_event("server", "ready", READY_S))
            real_time = RealTime(deployment)
            sources: list[Collector] = [
                Cgroup(deployment.nodes, deployment.cgroup),
                Orchestrator(),
                HostCollector(),
            ]
            with (
                asking(deployment, ready) as ask,
                Recorder(deployment, sources, logs / "series.csv", ask=ask) as recorder,
            ):
                load = self.driver.run(deployment, null, _mark_load(recorder))
            events = deployment.events("server")
            stats = [ServerStats.model_validate(event) for event in events if event["event"] == "stats"]
        server = null.scenario.servers[null.server]
        series, _ = read_series(logs / "series.csv")
        record = TrialRecord(
            TrialKey(null.server, "", null.repeat).id,
            null.server,
            null.repeat,
            {},
            "ok",
            null.scenario,
            runtime=self.runtime.name,
            placement=CpuPlacement(**asdict(self.placement)),
            load=load,
            series=series,
        )
        return ceiling(load, stats, _count(self.placement.swarm), server.workers).replaced(
            server=server.model,
            handler=null.scenario.handler,
            disturbed=self.noise(record),
            policy=engine_policy(real_time.processes()),
            measured_by=self.folder.name,
        )


def skipped(_: Trial) -> Calibration:
    """For a run that was asked not to calibrate."""
    return Calibration(why_not="asked not to calibrate (--no-calibration)")


def not_isolated(_: Trial) -> Calibration:
    """For plain processes: a maximum among them says little, and a first look should be quick."""
    return Calibration(why_not="the maximum rate of the swarm is not measured among plain processes")


def _mark_load(recorder: Recorder) -> OnEvent:
    """Have the marks sampled exactly."""

    def take(event: LoadEvent) -> None:
        if isinstance(event, PhaseStart) and event.phase == "warmup":
            mark_load(recorder, event.starts_mono_ms, WARMUP_S, MEASURE_S)

    return take


def null_trial(trial: Trial, placement: Placement, host: Host) -> Trial:
    """Return the trial's swarm at its maximum, in its load's own shape, straight against a null server."""
    scenario, swarm = trial.scenario, trial.scenario.swarm
    model, handler = NULL_SERVERS[swarm.wire]
    many = max(_count(placement.server), min_workers(swarm.max_users, host.nofile_hard))
    workers = many if catalog.models()[model].workers else 1
    phases = swarm.phases.model_copy(
        update={"warmup": WARMUP_S, "measure": MEASURE_S, "cooldown": COOLDOWN_S}
    )
    changes = {
        "load": _saturating(trial, placement),
        "users": swarm.max_users,
        "phases": phases,
        "spawn_rate": max(swarm.spawn_rate, swarm.max_users / RAMP_S),
        "request_timeout": TIMEOUT_S,
        "drain": DRAIN_S,
        "groups": {},  # all of them as one
    }
    null = scenario.model_copy(
        update={
            "servers": {"null": Server(model=model, workers=workers)},
            "handler": handler,
            "swarm": swarm.model_copy(update=changes),
            "links": (),
            "events": (),
            "sweep": {},
            "thresholds": {},
            "expect": {},
            "seed": 1,
        }
    )
    return Trial("calibration/1", "null", 1, {}, null)


def _saturating(trial: Trial, placement: Placement) -> Load:
    """Return a load beyond what the swarm can do: open where any part of the trial's load is open.

    A connection per request at such a rate would only take all ports: it is asked of a closed loop.
    """
    swarm = trial.scenario.swarm
    opened = [group.swarm.load for group in swarm.all_groups if not group.swarm.load.is_closed]
    if not opened or (swarm.one_exchange and swarm.wire != "datagram"):
        return Load.model_validate({"executor": "constant-users", "think-time": "0s"})
    rate = f"{OPEN_RATE_PER_CPU_S * _count(placement.swarm)}/s"
    arrivals = {"arrivals": opened[0].arrivals} if opened[0].arrivals else {}
    return Load.model_validate({"executor": "constant-arrival-rate", "rate": rate, **arrivals})


def ceiling(load: LoadResult, stats: Sequence[ServerStats], swarm_cpus: int, server_cpus: int) -> Calibration:
    """Find the maximum rate of a load, that of its best second, and the medians that it was found from.

    Raises NoMeasurement if nothing was answered.
    """
    seconds = [s for s in load.seconds if s.phase == "measure" and s.done]
    if not seconds:
        raise NoMeasurement("the null server answered nothing")
    if not all(any(s.cpu_cores) for s in seconds):
        raise NoMeasurement("the swarm's CPU time was not recorded")
    shares = [(float(s.done), _busiest(s.cpu_cores, swarm_cpus)) for s in seconds]
    most = max(rate if share >= SATURATED else rate / share for rate, share in shares)
    rate, swarm = (statistics.median(column) for column in zip(*shares, strict=True))
    server = _server_share(stats, load.window_ms, server_cpus)
    bottleneck: Literal["server", "neither"] | None = None
    if server is not None:
        bottleneck = "server" if server >= SATURATED else "neither"
    return Calibration(
        ceiling_per_s=most,
        rate_per_s=rate,
        swarm_cpu_share=swarm,
        server_cpu_share=server,
        limited_by="swarm" if swarm >= SATURATED else bottleneck,
    )


def _busiest(cores: Sequence[float], cpus: int) -> float:
    """Return the share of its capacity that the swarm used: its busiest engine, or all on their CPUs."""
    return min(1.0, max(max(cores), sum(cores) / cpus))


def _server_share(stats: Sequence[ServerStats], window_ms: tuple[float, float], cpus: int) -> float | None:
    """CPU time of the server within the window as a share of its CPUs; None where it was not recorded."""
    asked_until_ms = window_ms[1] + 1000 * COOLDOWN_S  # the line of the window's end comes just after it
    within = [s for s in stats if window_ms[0] <= s.mono_ms <= (asked_until_ms if s.asked else window_ms[1])]
    used = [
        (s.mono_ms, s.cpu_user_us + s.cpu_system_us)
        for s in within
        if s.cpu_user_us is not None and s.cpu_system_us is not None
    ]
    if len(used) < 2:
        return None
    (began_ms, first), (ended_ms, last) = used[0], used[-1]
    return (last - first) / 1000 / (ended_ms - began_ms) / cpus


def _file(key: str) -> Path:
    return state_dir() / "calibration" / f"{key}.json"


def _count(cpus: str) -> int:
    """How many CPUs a placement names: `0,2` → 2."""
    return len(cpu_list(cpus)) or 1
