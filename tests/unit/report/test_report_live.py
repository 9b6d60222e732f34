"""The live view: plain lines and the panel, with a clock of our own."""

from __future__ import annotations

import io

from rich.console import Console

from lab.report.live.state import duration, panel
from lab.report.live.view import LiveView, PlainView, View, make_view
from lab.results.record import Sample
from lab.results.swarm_event import PhaseStart, WorkerLost
from lab.run.record_builder import Gauges
from tests.support import judged, records

PROGRESS = records.progress(
    users=10_000, connected=9_000, requests_per_s=1999.2, response_p50_ms=41.2, response_p99_ms=None, failed=3
)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def console(terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=80, height=24, force_terminal=terminal, color_system=None)


def text_of(shown: Console) -> str:
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


def play(view: View, clock: Clock) -> None:
    run, _ = judged.golden()
    with view:
        view.step("runtime: docker (auto)")
        view.trial_started(1, 7, "blocking/1")
        view.step("starting the server and the swarm")
        view.event(PhaseStart(phase="measure", starts_mono_ms=1.0))
        for second in range(11):
            clock.now_s = 10.0 + second
            view.gauge("server_cpu_cores", 0.31)
            view.event(PROGRESS)
        view.trial_ended(run.trials[0])
        clock.now_s = 30.0
        view.trial_started(2, 7, "thread/1")


def test_plain_lines_are_one_per_change_and_one_every_five_seconds() -> None:
    clock, shown = Clock(), console()
    play(make_view(shown, plain=True, clock=clock), clock)
    lines = [line[9:].strip() for line in text_of(shown).splitlines()]
    assert lines[:4] == [
        "runtime: docker (auto)",
        "[1/7] blocking/1",
        "starting the server and the swarm",
        "measure",
    ]
    progress = [line for line in lines if line.startswith("connected 9,000 of 10,000")]
    assert len(progress) == 3
    assert progress[0].endswith("requests/s 1,999  p50 [ms] 41.2  failed 3  server CPU [cores] 0.310")
    assert lines[-2].startswith("819 requests/s, p50 unknown, p99 ≥\u00a044.1 ms, ")
    assert lines[-1] == "[2/7] thread/1, about 2:00 left"


def test_plain_lines_carry_no_control_characters() -> None:
    shown = console()
    view = PlainView(shown, Clock())
    view.step("a\x1b[2Jb\nc")
    view.event(WorkerLost(worker_index=1, says="gone\x07"))
    assert text_of(shown).splitlines() == ["     0s  a[2Jb c", "     0s    worker-1 lost: gone"]


def test_the_panel_shows_the_running_trial_and_the_finished_ones() -> None:
    clock, shown = Clock(), console(terminal=True)
    view = LiveView(shown, clock)
    play(view, clock)
    view.event(PROGRESS)
    view.gauge("server_memory_bytes", 3 * 2**20)
    page = Console(file=io.StringIO(), width=80, color_system=None)
    page.print(panel(view.state, clock.now_s, 24))
    text = text_of(page)
    assert "✓ blocking/1  819 requests/s" in text
    assert "[2/7] thread/1 · 30s elapsed, about 2:00 left" in text
    assert "9,000 of 10,000" in text
    assert "3.00 MiB" in text


def test_the_panel_fits_the_terminal() -> None:
    view = LiveView(console(terminal=True), Clock())
    run, _ = judged.golden()
    for index in range(1, 60):
        view.trial_started(index, 60, f"blocking/{index}")
        view.trial_ended(run.trials[6])
    view.trial_started(60, 60, "blocking/60")
    view.event(PROGRESS)
    page = Console(file=io.StringIO(), width=80, color_system=None)
    page.print(panel(view.state, 0.0, 24))
    lines = text_of(page).splitlines()
    assert len(lines) <= 24
    assert lines[0].startswith("…")


def test_a_failed_trial_says_why() -> None:
    shown = console()
    run, _ = judged.golden()
    view = PlainView(shown, Clock())
    view.trial_started(1, 1, "crash/1")
    view.trial_ended(run.trials[6])
    assert (
        text_of(shown)
        .splitlines()[-1]
        .endswith("failed: server died (SIGSEGV) in phase warmup; see server.log")
    )


def test_what_remains_is_told_from_what_was_expected_until_a_trial_has_ended() -> None:
    shown = console()
    view = make_view(shown, plain=True, clock=Clock(), trial_s=20.0)
    view.trial_started(1, 3, "a/1")
    assert text_of(shown).endswith("[1/3] a/1, about 1:00 left\n")


def test_an_event_under_load_stands_beside_the_phase_and_what_comes_after_replaces_it() -> None:
    clock = Clock()
    view = LiveView(console(terminal=True), clock)
    view.trial_started(1, 1, "a/1")
    view.event(PhaseStart(phase="measure", starts_mono_ms=1.0))
    clock.now_s = 4.0
    view.step("event at 2 s: pause server")

    def shown() -> list[str]:
        page = Console(file=io.StringIO(), width=80, color_system=None)
        page.print(panel(view.state, clock.now_s, 24))
        return [line.strip() for line in text_of(page).splitlines()]

    assert shown()[1:] == ["measure · 4s in this trial", "4s  event at 2 s: pause server"]
    view.event(PhaseStart(phase="done", starts_mono_ms=1.0))
    view.step("stopping")
    assert shown()[1] == "stopping · 4s in this trial"


def test_gauges_come_from_the_cgroup_and_from_processes_where_there_is_none() -> None:
    seen: list[tuple[str, float]] = []

    def told(*rows: tuple[str, str, float, float]) -> list[tuple[str, float]]:
        seen.clear()
        gauges = Gauges(lambda name, value: seen.append((name, value)))
        for source, metric, mono_ms, value in rows:
            gauges([Sample(mono_ms, "server", source, metric, value)])
        return seen

    processes = [("procfs", "cpu_us", 0.0, 0.0), ("procfs", "rss_bytes", 0.0, 7.0)]
    assert told(*processes, ("procfs", "cpu_us", 1000.0, 250_000.0)) == [
        ("server_memory_bytes", 7.0), ("server_cpu_cores", 0.25),
    ]  # fmt: skip
    assert told(("cgroup", "memory_bytes", 0.0, 9.0), *processes) == [("server_memory_bytes", 9.0)]


def test_durations() -> None:
    assert [duration(s) for s in (7.9, 65, 3723)] == ["7s", "1:05", "1:02:03"]
