"""The generator's ceiling: what it is found from, measured once, and never in the run's way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from lab.analysis.checks import noise
from lab.common.errors import NoMeasurement
from lab.common.paths import LAB_YAML, SCENARIOS
from lab.plan import plan
from lab.plan.capacity import place
from lab.plan.plan import Trial
from lab.plan.render import Addressing
from lab.results.load import LoadResult
from lab.results.node import Calibration, ServerStats
from lab.run import calibration
from lab.run.calibration import NULL_SERVERS, Calibrator, ceiling, null_trial
from lab.scenario import resolve
from lab.scenario.scenario import Scenario
from lab.scenario.swarm import Wire
from lab.verbs.completion import scenario_names
from tests.support.records import counter, result, second, series
from tests.support.records import trial as record
from tests.support.scenarios import HOST, TEXT, resolved

START_MS = 1000.0


def load(rate: int = 20_000, cores: Sequence[float] = (0.5,), seconds: int = 3) -> LoadResult:
    each = second(1, answered=rate, completed=rate, cpu_cores=list(cores), phase="measure")
    rows = [second(0, answered=1, completed=1), *([each] * seconds)]
    return LoadResult(result(window_mono_ms=[START_MS, START_MS + 3000]), tuple(rows), {})


def stats(share: float, cpus: int = 1) -> list[ServerStats]:
    """The server's statistics, once a second; outside the window it did nothing."""
    moments = [(START_MS - 900 + 1000 * i, min(max(i - 1, 0), 2)) for i in range(6)]
    used_us = share * cpus * 1e6
    return [ServerStats(mono_ms=t, cpu_user_us=used_us * n, cpu_system_us=0) for t, n in moments]


@pytest.mark.parametrize(
    ("cores", "server", "expected", "limited"),
    [
        ((0.95,), 0.5, 20_000, "swarm"),
        ((0.5,), 0.97, 40_000, "server"),
        ((0.5,), 0.5, 40_000, "neither"),
        ((0.5, 0.45), 0.5, 20_000, "swarm"),  # two engines on one CPU, together at its end
    ],
)
def test_the_ceiling_is_where_the_swarm_ends(
    cores: Sequence[float], server: float, expected: float, limited: str
) -> None:
    found = ceiling(load(cores=cores), stats(server), swarm_cpus=1, server_cpus=1)
    assert (found.ceiling_per_s, found.limited_by) == (expected, limited)
    assert found.server_cpu_share == pytest.approx(server)


def test_nothing_answered_is_no_ceiling() -> None:
    with pytest.raises(NoMeasurement, match="answered nothing"):
        ceiling(load(rate=0), stats(0.5), 1, 1)


class Lab:
    """A runtime, a deployment and a driver in one, that count and may fail."""

    name = "fake"

    def real_time_expected(self) -> bool:
        return self.expected == "SCHED_RR"

    def pids(self, node: str) -> list[int]:
        return []

    def host_pid(self, node: str, pid: int) -> None:
        """Its processes are hidden."""

    def __init__(self, error: NoMeasurement | None = None, policy: str = "SCHED_RR") -> None:
        self.error = error
        self.trials: list[Trial] = []
        self.expected = self.policy = policy

    @contextmanager
    def up(self, topology: Any, logs: Path) -> Iterator[Lab]:
        assert logs.is_dir()
        yield self

    def wait_event(self, *_: object) -> dict[str, str]:
        """Ready at once."""
        return {"event": "ready"}

    def subscribe(self, _: object) -> None:
        """Nothing is said."""

    def nodes(self) -> list[str]:
        return ["worker-0"]

    def cgroup(self, node: str) -> None:
        """It has none."""

    def events(self, node: str) -> list[dict[str, Any]]:
        if node == "worker-0":
            return [
                {"event": "scheduled", "task": "engine 0", "asked": False, "pid": 9, "policy": self.policy}
            ]
        return [{"event": "stats", **one.to_json()} for one in stats(0.5)]

    def run(self, deployment: Lab, trial: Trial, on_event: object) -> LoadResult:
        self.trials.append(trial)
        if self.error:
            raise self.error
        return load()


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def trials(folder: Path, text: str = TEXT) -> tuple[Trial, ...]:
    return plan.expand(resolved(folder, text)).trials


def calibrator(folder: Path, lab: Any, **changes: Any) -> tuple[Calibrator, list[str]]:
    said: list[str] = []
    made = Calibrator(
        runtime=lab, driver=lab, addressing=Addressing, host=HOST, versions={"swarm": "1"}, folder=folder,
        placement=place(HOST, trials(folder)[0].scenario), say=said.append, noise=lambda _: None,
    )  # fmt: skip
    return replace(made, **changes), said


def test_it_is_measured_once_and_kept(tmp_path: Path, state: Path) -> None:
    one, other = trials(tmp_path)
    lab = Lab()
    first, _ = calibrator(tmp_path, lab)
    assert first(one).ceiling_per_s == 40_000
    assert first(other) == first(one)
    again, said = calibrator(tmp_path, lab)
    assert again(one) == first(one)
    assert said == []
    assert len(lab.trials) == len(list(state.glob("calibration/*.json"))) == 1


@pytest.mark.parametrize(
    "changes", [{"versions": {"swarm": "2"}}, {"host": replace(HOST, kernel="6.2")}, {"users": 11}]
)
def test_what_it_depends_on_makes_another(tmp_path: Path, changes: dict[str, Any]) -> None:
    lab = Lab()
    calibrator(tmp_path, lab)[0](trials(tmp_path)[0])
    users = changes.pop("users", 10)
    text = TEXT.replace("users: 10", f"users: {users}")
    calibrator(tmp_path, lab, **changes)[0](trials(tmp_path, text)[0])
    assert len(lab.trials) == 2


def test_another_rate_link_or_free_memory_does_not(tmp_path: Path) -> None:
    lab = Lab()
    calibrator(tmp_path, lab)[0](trials(tmp_path)[0])
    text = TEXT.replace("100/s", "200/s") + "links:\n  - {endpoints: [swarm, servers], delay: 5ms}\n"
    host = replace(HOST, memory_available_bytes=HOST.memory_available_bytes - 1)
    calibrator(tmp_path, lab, host=host)[0](trials(tmp_path, text)[0])
    assert len(lab.trials) == 1


def test_one_of_a_host_that_was_not_quiet_serves_its_run_alone(tmp_path: Path, state: Path) -> None:
    lab = Lab()
    loud, said = calibrator(tmp_path, lab, noise=lambda _: "others used 30 % of this host")
    one, other = trials(tmp_path)
    assert loud(one) == loud(other)
    assert (loud(one).ceiling_per_s, loud(one).disturbed) == (40_000, "others used 30 % of this host")
    assert said[-1] == "the swarm's maximum rate: 40,000 requests/s (not kept: others used 30 % of this host)"
    assert list(state.glob("calibration/*.json")) == []
    quiet, _ = calibrator(tmp_path, lab)
    assert quiet(one).disturbed is None
    assert len(lab.trials) == 2


def test_noise_is_what_the_check_of_the_host_says() -> None:
    assert noise(record()) is None
    stolen = {("host", "host", "cpu0_steal_us"): counter(0, 4e5)}
    assert "steal time" in (noise(record(series=series(stolen))) or "")
    blind = {("host", "host", "cpu0_steal_us"): None}
    assert "not checked" in (noise(record(series=series(blind))) or "")


def test_a_failure_is_said_once_and_does_not_stop_the_run(tmp_path: Path, state: Path) -> None:
    lab = Lab(NoMeasurement("a worker was lost"))
    made, said = calibrator(tmp_path, lab)
    one, other = trials(tmp_path)
    assert made(one) == made(other) == Calibration(why_not="a worker was lost")
    assert len(lab.trials) == 1
    assert said[-1] == "not calibrated: a worker was lost"
    assert list(state.glob("calibration/*.json")) == []


@pytest.mark.parametrize("torn", ['{"ceiling_per', "[]", '{"ceiling_per_s": "x"}'])
def test_a_torn_file_is_said_and_measured_again(tmp_path: Path, state: Path, torn: str) -> None:
    lab = Lab()
    trial = trials(tmp_path)[0]
    calibrator(tmp_path, lab)[0](trial)
    [file] = state.glob("calibration/*.json")
    file.write_text(torn)
    made, said = calibrator(tmp_path, lab)
    assert made(trial).ceiling_per_s == 40_000
    assert "cannot be read" in said[0]
    assert json.loads(file.read_text())["ceiling_per_s"] == 40_000


@pytest.mark.parametrize(
    ("load", "more", "asked"),
    [
        ("{executor: constant-arrival-rate, rate: 100/s}", "", "constant-arrival-rate"),
        (
            "{executor: ramping-arrival-rate, start-rate: 9/s, stages: [{duration: 1s, target: 90/s}]}", "",
            "constant-arrival-rate",
        ),
        ("{executor: constant-arrival-rate, rate: 100/s}", "clients: {churn: true}", "constant-users"),
        ("{executor: constant-users, think-time: 1s}", "", "constant-users"),
    ],
)  # fmt: skip
def test_the_load_of_the_null_trial_has_the_shape_of_the_trials(
    tmp_path: Path, load: str, more: str, asked: str
) -> None:
    """Sends by the clock cost the swarm a multiple of the batches of a closed loop."""
    text = TEXT.replace("{executor: constant-arrival-rate, rate: 100/s}", load)
    assert load in text
    trial = trials(tmp_path, text.replace("users: 10", f"users: 10\n  {more}"))[0]
    null = null_trial(trial, place(HOST, trial.scenario), HOST).scenario.swarm
    assert null.load.executor == asked
    if asked == "constant-arrival-rate":
        assert null.load.rate == pytest.approx(calibration.OPEN_RATE_PER_CPU_S), "one CPU is the swarm's"
    else:
        assert null.load.think_time == 0


def test_open_sends_are_poisson_where_the_trials_are(tmp_path: Path) -> None:
    text = TEXT.replace("rate: 100/s", "rate: 100/s, arrivals: poisson")
    trial = trials(tmp_path, text)[0]
    assert null_trial(trial, place(HOST, trial.scenario), HOST).scenario.swarm.load.arrivals == "poisson"


def test_the_null_trial_is_short_and_between_nothing(tmp_path: Path) -> None:
    text = TEXT + "handler: {sleep: 10ms}\nlinks:\n  - {endpoints: [swarm, servers], delay: 5ms}\n"
    trial = trials(tmp_path, text)[0]
    null = null_trial(trial, place(HOST, trial.scenario), HOST).scenario
    assert (null.swarm.users, null.swarm.workers) == (10, 2)
    assert (null.handler, null.links, null.events) == ("hello", (), ())
    assert calibration.WARMUP_S + calibration.MEASURE_S + calibration.RAMP_S <= 6


# Own Locust users and groups have no calibration: their rate is known to a file, or to each group.
CALIBRATED = [name for name in scenario_names() if name not in ("own_locust", "two_groups")]


@pytest.mark.parametrize("name", CALIBRATED)
def test_the_null_trial_of_a_bundled_scenario_is_a_scenario_and_a_record_can_hold_it(name: str) -> None:
    """Rules of a scenario name its servers, and the null server is none of them."""
    trial = plan.expand(resolve.load(SCENARIOS / f"{name}.yaml", lab_yaml=LAB_YAML)).trials[0]
    null = null_trial(trial, place(HOST, trial.scenario), HOST)
    assert Scenario.model_validate(null.scenario.model_dump(mode="json")) == null.scenario
    kept = replace(record(), id="null/1", server="null", scenario=null.scenario)
    assert kept.scenario == null.scenario


def test_every_wire_has_a_null_server() -> None:
    assert set(NULL_SERVERS) == set(get_args(Wire))


def test_another_class_of_the_engines_makes_another(tmp_path: Path) -> None:
    one, _ = trials(tmp_path)
    lab, usual = Lab(), Lab(policy="SCHED_OTHER")
    calibrator(tmp_path, lab)[0](one)
    calibrator(tmp_path, usual)[0](one)
    assert (len(lab.trials), len(usual.trials)) == (1, 1)


def test_it_is_kept_for_the_class_that_its_engines_had(tmp_path: Path) -> None:
    """The class was expected and not reached: another run in the usual class may use it."""
    one, _ = trials(tmp_path)
    lab, usual = Lab(), Lab(policy="SCHED_OTHER")
    lab.policy = "SCHED_OTHER"
    found = calibrator(tmp_path, lab)[0](one)
    assert found.policy == "SCHED_OTHER"
    assert calibrator(tmp_path, usual)[0](one) == found
    assert usual.trials == []
