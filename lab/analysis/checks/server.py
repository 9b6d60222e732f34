"""Checks of the server: was it held back, did it die, is it the model it says, are its answers right?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lab.analysis.checks.evidence import SERVER, Evidence, NoData, Said, graded, percent
from lab.scenario import catalog

# Statistics come each second; where they end this long before the window does, it was gone.
SILENT_MS = 2_500.0
# A call that must not be there may still be made by the start of the program or its statistics thread.
STRAY_CALLS_PER_REQUEST = 0.01
TWINS = (
    ("select", "pselect6"),
    ("poll", "ppoll"),
    ("epoll_wait", "epoll_pwait", "epoll_pwait2"),
    ("accept", "accept4"),
    ("read", "recvfrom", "recvmsg"),
    ("write", "sendto", "sendmsg"),
    ("fork", "vfork", "clone", "clone3"),
)


def server_died(e: Evidence) -> Iterator[Said]:
    """The server ended, crashed or was killed before the load was over."""
    how = death(e)
    if how is not None:
        last = e.trial.last_lines.get(SERVER, [])
        said = f"; its last line: {last[-1].strip()[:200]}" if last else ""
        yield Said(
            "fail", f"the server died under load ({how}){said}", "see the server's log in this trial's folder"
        )


def death(e: Evidence) -> str | None:
    """How the server died while the load ran; None where it lived on, or was only slow to stop afterwards."""
    ended = e.trial.exits.get(SERVER)
    if ended is None or e.trial.load is None:
        return None
    how = "out of memory" if ended.oom else ended.signal or f"exit code {ended.code}"
    if ended.early is not None:
        return how if ended.early else None
    if e.trial.server_stats:
        return how if e.trial.server_stats[-1].mono_ms < e.window_ms[1] - SILENT_MS else None
    return how if ended.code or ended.oom else None


def server_stopped(e: Evidence) -> Iterator[Said]:
    """The server ended by itself on SIGTERM, and said its last word (images/CONTRACT.md)."""
    ended = e.trial.exits.get(SERVER)
    if ended is None or death(e) is not None:
        return
    if ended.code or ended.signal:
        how = ended.signal or f"exit code {ended.code}"
        yield Said("suspect", f"the server did not end cleanly on SIGTERM ({how})", "see its log")


def throttled(e: Evidence) -> Iterable[Said]:
    """Periods in which the server's CPU quota held it back."""
    if e.settings.get("cpus") is None:
        return ()
    periods = e.increase(SERVER, "cgroup", "cpu_periods")
    held = e.increase(SERVER, "cgroup", "cpu_throttled")
    share = held / periods if periods else 0.0
    return graded(
        "throttled",
        share,
        f"the CPU quota held the server back in {percent(share)} of its periods",
        "raise `cpus`, or read the figures as those of the quota and not of the model",
    )


def oom(e: Evidence) -> Iterator[Said]:
    """Out-of-memory kills in the server's cgroup, whoever was hit."""
    kills = e.growth(SERVER, "cgroup", "oom_kills")
    yield from graded(
        "oom_kills", kills, f"{kills:.0f} out-of-memory kills in the server's cgroup", "raise `memory`"
    )


def swap(e: Evidence) -> Iterator[Said]:
    """Pages this host swapped while the window ran."""
    pages = e.increase("host", "host", "pswpin") + e.increase("host", "host", "pswpout")
    yield from graded(
        "swapped_pages", pages, f"this host swapped {pages:.0f} pages", "free memory, or fewer users"
    )


def model_profile(e: Evidence) -> Iterator[Said]:
    """The model is what it says: it makes the system calls of its kind, and none of another's."""
    model = catalog.models().get(e.trial.model or "")
    if model is None:
        raise NoData(f"{e.trial.model} is not in the catalog of models any more")
    made = {_plain(metric): e.highest(SERVER, "syscalls", metric) for metric in e.metrics(SERVER, "syscalls")}
    if not made:
        raise NoData("system calls were not counted (it takes root, BPF and containers)")
    missing = [name for name in model.syscalls.must if not _made(made, name)]
    if missing:
        yield Said(
            "invalid", f"{model.name} never called {', '.join(missing)}", "this is not the model it says"
        )
    per_request = {_plain(name): number for name, number in e.figures.syscalls_per_request.items()}
    for name in model.syscalls.never:
        if per_request.get(name, 0) > STRAY_CALLS_PER_REQUEST:
            says = f"{model.name} called {name} {per_request[name]:.2g} times per request: it never should"
            yield Said("invalid", says, "this is not the model it says", per_request[name])


def _plain(metric: str) -> str:
    return metric.removeprefix("sys_enter_").removeprefix("sys_")


def _made(made: Mapping[str, float], name: str) -> bool:
    """Whether a call was made under its name, or under its twin's: libc and machine choose between them."""
    twins = next((group for group in TWINS if name in group), (name,))
    return any(made.get(twin) for twin in twins)


def right_answers(e: Evidence) -> Iterator[Said]:
    """Right answers before, during and after the load."""
    asked = {v.when: v for v in e.trial.verify}
    if "before" not in asked:
        raise NoData("the server's answers were not verified before the load")
    for when, verified in asked.items():
        for check in verified.checks:
            if not check.ok:
                says = f"no right answer {when} the load: {check.name}: {check.says}"
                yield Said("invalid", says, "mend the server: a wrong answer is often a quick one")
    wrong = e.errors("wrong_answer", "protocol")
    says = f"{wrong:,} wrong or malformed answers under load"
    yield from graded("wrong_answers", wrong, says, "mend the server: a wrong answer is often a quick one")
    if "after" not in asked and not e.expects:
        yield Said("suspect", "the server's answers were not verified again after the load")
