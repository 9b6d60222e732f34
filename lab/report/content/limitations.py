"""The topology in words and boxes, and the limits of the result: both follow from the records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lab.analysis.groups import parts
from lab.analysis.model import Summary
from lab.analysis.summary import BY_INTENDED_SEND, NO_COOLDOWN
from lab.report.content.links import requested_words
from lab.report.content.text import clean, percent, plural
from lab.results.link import Directions
from lab.results.record import Run, TrialRecord
from lab.scenario.swarm import Swarm

NOT_ISOLATED = "not isolated"


def topology(run: Run, summary: Summary) -> dict[str, str]:
    """Return the boxes' texts, and the whole in one sentence (`says`)."""
    trial = next(iter(run.trials), None)
    swarm, placement = (trial.scenario.swarm, trial.placement) if trial else (None, None)
    workers, users = (swarm.workers, swarm.users) if swarm else (0, 0)
    masters = plural(len(swarm.all_groups) if swarm else 1, "master")
    load = f"{masters}, {plural(workers, 'worker')}, {plural(users, 'connection')}"
    isolated = not trial or NOT_ISOLATED not in trial.stamps
    network = "data network" if isolated else "host's loopback"
    control = (
        "a control network of its own joins the master and its workers"
        if isolated
        else "the master and its workers use it too"
    )
    servers = list(dict.fromkeys(clean(server.server) for server in summary.servers.values()))
    asked = dict.fromkeys(
        requested_words(link.requested) for link in summary.links if link.requested != Directions()
    )
    impaired = "; ".join(asked)
    wire = clean(f"{trial.scenario.swarm.wire}, handler {trial.scenario.handler}") if trial else ""
    return {
        "swarm": load,
        "swarm_cpus": _cpus(placement and placement.swarm),
        "above": f"{impaired}, each way" if impaired else "no impairment",
        "below": f"{network}, {wire}",
        "server": f"one at a time: {', '.join(servers)}",
        "server_cpus": _cpus(placement and placement.server),
        "says": (
            f"A swarm of {load} drives one server at a time over the {network} "
            f"({impaired + ', each way' if impaired else 'not impaired'}); {control}."
        ),
    }


def _cpus(cpus: object) -> str:
    return f"CPU {clean(cpus)}" if cpus else "any CPU"


def limits(run: Run, summary: Summary) -> list[str]:
    """Tell what the figures do not say."""
    return list(_limits(run.trials, summary))


def _limits(trials: tuple[TrialRecord, ...], summary: Summary) -> Iterator[str]:
    for runtime in sorted({trial.runtime for trial in trials} & _RUNTIMES.keys()):
        yield _RUNTIMES[runtime]
    for stamp in summary.stamps:
        if stamp == NOT_ISOLATED and any(trial.runtime in _RUNTIMES for trial in trials):
            continue  # the sentence about the runtime says so
        yield f"Stamped “{clean(stamp)}”{_STAMPS.get(stamp, '.')}"
    if any(trial.placement and trial.placement.overlap for trial in trials):
        yield "The server and the swarm share CPUs, so each takes time from the other."
    if any(part.scenario.swarm.load.is_closed for trial in trials for part in parts(trial).values()):
        yield _CLOSED
    if any(trial.scenario.swarm.load.is_ramping for trial in trials):
        yield _RAMPING
    for swarm in _distinct([trial.scenario.swarm for trial in trials]):
        yield from _kinds(swarm)
    if any(server.kept_up is False for server in summary.servers.values()):
        yield _GROWS
    if any(server.cpu_at_least for server in summary.servers.values()):
        yield _FULL
    if all(server.trials <= 1 for server in summary.servers.values()):
        yield _ONE_TRIAL
    elif any(server.trials_valid < 6 for server in summary.servers.values()):
        yield "A 95 % interval needs six valid trials: where there are fewer, brackets hold the extremes."
    yield _OUTSIDE


_RUNTIMES = {
    "docker": (
        "Server, swarm and network share one machine and its kernel. Compare the servers of this run with "
        "each other; absolute rates hold for this machine only."
    ),
    "local": (
        "Plain processes on the host, not isolated: no limits, no network of their own, and whatever else "
        "the host does is in the figures."
    ),
}
_STAMPS = {
    "delay: user space": (
        ": this kernel has no netem, so a user-space program delayed the packets. Unless "
        "`delayline_lateness` says more, each left at most 0.6 ms early or late."
    ),
    NO_COOLDOWN: (
        ": the load ended with the measured window, so what was sampled just after its end holds less than a "
        "loaded server shows."
    ),
    BY_INTENDED_SEND: (
        ": recorded before answers were counted as they came. The rate, and every figure per request, of a "
        "server that did not keep up include answers that came after the window."
    ),
}
_CLOSED = (
    "The load is closed: a slow server gets fewer requests, and requests that were never sent are missing "
    "from its response times (coordinated omission)."
)
_RAMPING = (
    "The load changes within the window, as asked: rates are means over it, quantiles those of all its "
    "answers, and the check for a steady state does not apply."
)
_FULL = (
    "“(CPU full)”: the server used more than 95 % of its CPUs (CPU set, quota and workers count). Its CPU "
    "time per request is then those CPUs divided by the rate, whatever a request costs: a lower bound, which "
    "no law, comparison or ranking takes."
)
_GROWS = (
    "“(at its limit)”: the server did not keep up with the rate that was asked. Its backlog grew from the "
    "window's start to its end, so its times, marked “(grows)”, are those of this window: a longer one has "
    "longer times."
)
_ONE_TRIAL = "One trial per server can be shown, but not compared: that needs at least six repeats."
_OUTSIDE = (
    "CPU time, system calls and switches are those of the server's processes; work of the kernel that is "
    "charged to others (interrupts, the delay line) is not included."
)


def _distinct(swarms: Iterable[Swarm]) -> Iterator[Swarm]:
    """One swarm of each kind: those that differ in clients or page."""
    kinds = {(swarm.clients, swarm.page): swarm for swarm in swarms}
    yield from kinds.values()


def _kinds(swarm: Swarm) -> Iterator[str]:
    """Tell what the kinds of clients, and what a request is, mean for the figures."""
    clients, page = swarm.clients, swarm.page
    if clients.idle:
        yield f"{percent(clients.idle)} of the users hold a connection and send nothing."
    if clients.slow:
        yield (
            f"{percent(clients.slow)} of the users are slow clients: they count in the server's CPU time, "
            "memory and own counters; rate, errors and response times are those of the other users."
        )
    if clients.churn:
        yield "Every request has a connection of its own: its connect is part of its response time."
    if page:
        together = "pipelined on one connection" if page.at_once else "one after the other"
        paths = clean(", ".join(page.paths))
        yield f"A request is a page of {plural(len(page.paths), 'resource')} ({paths}), {together}."
