"""Where nothing was sampled, nothing is well: a check says `unknown`, a figure is None, never 0 or ok."""

import threading
from dataclasses import replace

import pytest

from lab import collect
from lab.analysis import checks
from lab.analysis.checks.trial_view import NoData
from lab.analysis.figures import figures
from lab.collect import Recorder
from lab.common.clock import mono_ms
from lab.plan.topology import Node, Topology
from lab.results.store import read_series
from tests.support import records
from tests.support.records import judged, series, trial

# Not read where something better was sampled: states of the whole host.
ALSO = {key for key in records.SERIES if key[1] == "host" and key[2].startswith("cpu_")}
# Told where it was sampled, and left out of what others used: then they seem to have used more.
ALSO |= {("lab", "orchestrator", "cpu_us")}
# CPU 2 has neither server nor swarm.
ALSO |= {key for key in records.SERIES if key[2].startswith("cpu2_")}
# Each alone: another call or figure of the same source remains.
ALSO |= {key for key in records.SERIES if key[1] == "syscalls"}
# Of the same reading as `waited_us`, which is missed; asked only of a task that waited.
ALSO |= {key for key in records.SERIES if key[1] == "realtime" and key[2].startswith(("cpu/", "ran_us/"))}
FIGURES_ONLY = {("server", "cgroup", "memory_bytes"), ("server", "server", "open_peak")}


@pytest.mark.parametrize("key", sorted({*records.SERIES} - ALSO - FIGURES_ONLY), ids="-".join)
def test_a_series_that_was_not_sampled_is_missed(key):
    summary = judged(replace(trial(), series=series({key: None})))
    unknown = [f for f in summary.findings if f.level == "unknown"]
    assert unknown, f"nobody missed {key}"
    assert all(f.says.startswith("not checked: ") for f in unknown)


@pytest.mark.parametrize("key", sorted({*records.SERIES} - ALSO - FIGURES_ONLY), ids="-".join)
def test_one_sample_of_a_counter_is_no_growth(key):
    once = list(records.SERIES[key][:1])
    summary = judged(replace(trial(), series=series({key: once})))
    assert [f for f in summary.findings if f.level == "unknown"], f"one sample of {key} was enough"


def test_figures_of_what_was_not_sampled_are_none():
    seen = figures(replace(trial(), series=series(dict.fromkeys(records.SERIES))))
    told = seen.model_dump(exclude={"trial", "status", "reason", "groups", "cpu_source", "events"})
    of_the_server = set(told) - {
        "offered_per_s", "requests_per_s", "response_ms", "service_ms", "errors", "connect_ms",
        "kept_up",
        "connections_peak",  # the server's own last words tell it too
        "busy_waits",  # a fact about the model
    }  # fmt: skip
    assert {name: told[name] for name in of_the_server if told[name] not in (None, {})} == {}


def test_a_process_that_was_not_sampled_in_the_window_has_no_delay():
    """One that had many threads meanwhile: what lies between its first and last sample is not known."""
    key = ("worker-0", "schedstat", "waited_us/43")
    start, end = records.WINDOW_MS
    outside = [(t, 9e5 * (t > end)) for t, _ in records.SERIES[key] if not start <= t <= end]
    found = checks.check_trial(replace(trial(), series=series({key: outside})))
    assert [(f.check, f.level) for f in found] == [("run_delay", "unknown")]


def test_a_trial_without_a_measurement_has_no_share_of_errors():
    assert figures(replace(trial(), load=None, status="failed")).errors.rate is None


def test_what_a_check_saw_before_it_lacked_data_is_kept(monkeypatch):
    def both(view):
        yield checks.Result("invalid", "seen")
        raise NoData("the rest is missing")

    monkeypatch.setattr(checks, "TRIAL_CHECKS", (checks.Check("both", both),))
    assert [f.says for f in checks.check_trial(trial())] == ["seen", "not checked: the rest is missing"]


class Blind:
    """A deployment whose runtime reports nothing of its nodes: an engine on another machine."""

    def subscribe(self, callback):
        """No node prints anything."""

    def nodes(self):
        return ["server", "master", "worker-0", "worker-1"]

    def cgroup(self, node):
        return None

    def pids(self, node):
        return []


def test_a_runtime_that_reports_nothing_leaves_every_check_of_its_nodes_unknown(tmp_path):
    nodes = tuple(Node(name, "server", "server") for name in Blind().nodes())
    collectors, notes = collect.for_trial(Blind(), Topology("run", "trial/1", nodes, ()), list)
    sampled = threading.Semaphore(0)

    def on_samples(_):
        sampled.release()

    file = tmp_path / "series.csv"
    with Recorder(Blind(), collectors, file, notes, on_samples) as recorder:
        assert sampled.acquire(timeout=30)
        window = (mono_ms(), mono_ms() + 100)
        for mark in window:
            recorder.mark("measure", mark)
        assert sampled.acquire(timeout=30)
        assert sampled.acquire(timeout=30)
    ended = {"server": {"code": 0, "signal": None, "oom": None, "early": False}}
    blind = records.with_load(trial(), window_mono_ms=list(window))
    blind = replace(blind, series=read_series(file)[0], exits=ended)
    unknown = {f.check for f in checks.check_trial(blind) if f.level == "unknown"}
    assert unknown >= {
        "throttled", "generator_throttled", "oom", "kernel_counters", "model_profile", "host_quiet",
        "run_delay",
    }  # fmt: skip
