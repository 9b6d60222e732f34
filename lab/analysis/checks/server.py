"""Checks of the server: did it die, was it throttled, is it the model it claims, are its answers right?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lab.analysis.checks.quota import held_back
from lab.analysis.checks.trial_view import SERVER, NoData, Result, TrialView, graded, told
from lab.common.units import show_percent
from lab.scenario import catalog

# Statistics come once a second: a server whose last line is this long before the window's end had died.
SILENT_MS = 2_500.0
NOT_THE_MODEL = "correct the model, or its system calls in images/server/manifest.toml"
SEE_LOG = "see the server's log in the trial's folder"
FIX_SERVER = "fix the server: a wrong answer is often a quick one"
# The start of the program and its statistics thread may make calls that the model itself never makes.
STRAY_CALLS_PER_REQUEST = 0.01
VARIANTS = (
    ("select", "pselect6"),
    ("poll", "ppoll"),
    ("epoll_wait", "epoll_pwait", "epoll_pwait2"),
    ("accept", "accept4"),
    ("read", "recvfrom", "recvmsg"),
    ("write", "sendto", "sendmsg"),
    ("fork", "vfork", "clone", "clone3"),
)


def server_died(view: TrialView) -> Iterator[Result]:
    """Check that the server lived until the load ended."""
    how = death(view)
    if how is not None:
        last = view.trial.last_lines.get(SERVER, [])
        line = f"; its last line: {last[-1].strip()[:200]}" if last else ""
        message = f"the server died under load ({how}){line}"
        yield Result("fail", message, SEE_LOG)


def death(view: TrialView) -> str | None:
    """How the server died while the load ran; None where it survived, or was only slow to stop afterwards."""
    ended = view.trial.exits.get(SERVER)
    if ended is None or view.trial.load is None:
        return None
    how = "out of memory" if ended.oom else ended.signal or f"exit code {ended.code}"
    if ended.early is not None:
        return how if ended.early else None
    if view.trial.server_stats:
        return how if view.trial.server_stats[-1].mono_ms < view.window_ms[1] - SILENT_MS else None
    return how if ended.code or ended.oom else None


def server_stopped(view: TrialView) -> Iterator[Result]:
    """Check that the server ended with exit code 0 on SIGTERM (images/CONTRACT.md)."""
    ended = told(view.trial.exits.get(SERVER), "how the server ended was not recorded")
    if death(view) is not None:
        return
    if ended.code or ended.signal:
        how = ended.signal or f"exit code {ended.code}"
        yield Result("suspect", f"the server did not exit with 0 on SIGTERM ({how})", SEE_LOG)


def cpu_full(view: TrialView) -> Iterable[Result]:
    """Share of the server's CPUs in use: of a full CPU no cost per request can be told. Polling is exempt."""
    missing = "how many CPUs the server had, or used, was not recorded"
    share = told(view.figures.cpu_share, view.why_missing("cgroup", missing))
    if view.figures.busy_waits:
        return ()
    return graded(
        "cpu_full",
        share,
        f"the server used {show_percent(share)} of its CPUs, so its CPU time per request is a lower bound",
        f"{view.lower_load}, to see what a request costs",
    )


def throttled(view: TrialView) -> Iterable[Result]:
    """Periods in which a CPU quota held the server back: its own, or that of a group above it."""
    remedy = "raise `cpus`, or read the figures as those of the quota instead of the model"
    return held_back(view, SERVER, remedy)


def oom(view: TrialView) -> Iterator[Result]:
    """Out-of-memory kills in the server's cgroup, whoever was hit."""
    kills = view.growth(SERVER, "cgroup", "oom_kills")
    yield from graded(
        "oom_kills", kills, f"{kills:.0f} out-of-memory kills in the server's cgroup", "raise `memory`"
    )


def swap(view: TrialView) -> Iterator[Result]:
    """Pages that the host swapped in or out during the window."""
    pages = view.increase("host", "host", "pswpin") + view.increase("host", "host", "pswpout")
    yield from graded(
        "swapped_pages", pages, f"the host swapped {pages:.0f} pages", "free memory, or use fewer users"
    )


def model_profile(view: TrialView) -> Iterator[Result]:
    """Check that the server makes the system calls of its model, and none that the model never makes."""
    model = catalog.models().get(view.trial.model or "")
    if model is None:
        raise NoData(f"{view.trial.model} is no longer in the catalog of models")
    made = {
        _plain(metric): view.highest(SERVER, "syscalls", metric)
        for metric in view.metrics(SERVER, "syscalls")
    }
    if not made:
        default = "system calls were not counted: that needs root, BPF and containers"
        raise NoData(view.why_missing("syscalls", default))
    missing = [name for name in model.syscalls.must if not _made(made, name)]
    if missing:
        yield Result(
            "invalid",
            f"{model.name} never called {', '.join(missing)} before the window",
            NOT_THE_MODEL,
        )
    if not view.figures.syscalls_per_request:
        raise NoData("no system call of the warm-up was counted")
    per_request = {_plain(name): number for name, number in view.figures.syscalls_per_request.items()}
    for name in model.syscalls.never:
        if per_request.get(name, 0) > STRAY_CALLS_PER_REQUEST:
            often = f"{per_request[name]:.2g} times per request of the warm-up"
            message = f"{model.name} called {name} {often}, and never should"
            yield Result("invalid", message, NOT_THE_MODEL, per_request[name])


def _plain(metric: str) -> str:
    return metric.removeprefix("sys_enter_").removeprefix("sys_")


def _made(made: Mapping[str, float], name: str) -> bool:
    """Whether a call was made under its name or a variant's: libc and the machine choose between them."""
    variants = next((group for group in VARIANTS if name in group), (name,))
    return any(made.get(twin) for twin in variants)


def right_answers(view: TrialView) -> Iterator[Result]:
    """Check that the server's answers are right before, during and after the load."""
    asked = {v.when: v for v in view.trial.verify}
    if "before" not in asked:
        raise NoData("the server's answers were not verified before the load")
    for when, verified in asked.items():
        for check in verified.checks:
            if not check.ok:
                message = f"wrong answer {when} the load: {check.name}: {check.says}"
                yield Result("invalid", message, FIX_SERVER)
    wrong = view.errors("wrong_answer", "protocol")
    yield from graded("wrong_answers", wrong, f"{wrong:,} wrong or malformed answers under load", FIX_SERVER)
    if "after" not in asked:
        yield Result(
            "suspect",
            "the server's answers were not verified again after the load",
            "see the server's log in the trial's folder: it may have stopped answering",
        )
