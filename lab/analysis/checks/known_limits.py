"""Known limits of a server: what the scenario expects (`expect:`), what was seen, and what follows from it.

A limit that was met excuses what it explains, and nothing else: the counts of conservation and right answers
never. Each function below `known_limits` says why a finding of one check follows from a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lab.analysis.checks.limits import LIMITS
from lab.analysis.checks.network import COUNTERS
from lab.analysis.checks.trial_view import NoData, Result, TrialView
from lab.analysis.limits import open_peak, refused, refused_above, served_at_once
from lab.analysis.model import Finding

LimitName = Literal["max_open", "served_at_once"]
# An expectation is met by what was seen within this share of it, above or below.
TOLERANCE = 0.05
# A server that refuses a connection closes it at once: before, while, or just after a request is sent on it.
# One that serves few at once leaves the others in the accept queue, and beyond that their SYNs unanswered.
FOLLOWS: dict[LimitName, frozenset[str]] = {
    "max_open": frozenset(
        {"connect_refused", "connect_reset", "connect_timeout", "idle_closed", "reset", "closed"}
    ),
    "served_at_once": frozenset({"connect_timeout", "timeout", "unanswered"}),
}
FULL_QUEUE = ("listen_overflows", "syn_retransmits", "retransmits")


@dataclass(frozen=True)
class Met:
    """A limit that the scenario expects, and that the server met, of all its `users`."""

    name: LimitName
    most: int
    users: int

    @property
    def fewest_served(self) -> float:
        """The share of the users that the limit leaves at least."""
        return min(1.0, self.most * (1 - TOLERANCE) / self.users)

    @property
    def most_left_out(self) -> float:
        """The share of the users that the limit leaves out at most."""
        return 1 - self.fewest_served


def known_limits(view: TrialView) -> Iterator[Result]:
    """Did the server reach a known limit, and was it expected?

    One finding per limit that was expected or seen; one that was expected and seen does not count.
    """
    if not view.trial.server_stats and (view.trial.model or view.expects):
        raise NoData(view.why_missing("server", "the server's statistics are missing"))
    if refused(view.trial) and open_peak(view.trial) is None:
        raise NoData("the server refused connections, and did not tell how many it held")
    users = view.swarm.max_users
    for name, found in _seen(view).items():
        most = view.expects.get(name)
        if found is not None and most is not None and _meets(found, most):
            message = f"{_words(name, found)}: a known limit, expected ({name}: {most})"
            yield Result("ok", message, value=found, expected=True)
        elif found is not None and most is not None:
            message = f"{_words(name, found)}: not the expected limit ({name}: {most}), so nothing is excused"
            yield Result("suspect", message, "find out why, or correct the scenario's `expect:`", found)
        elif found is not None:
            yield Result(
                "suspect", _words(name, found), f"if this limit is known, set `{name}` under `expect:`", found
            )
        elif most is not None and users > most:
            message = f"expected limit {name}: {most} was not met with {users:,} connections requested"
            yield Result("suspect", message, "correct the scenario's `expect:`, or find out why")


def met(view: TrialView) -> Met | None:
    """Return the limit that was expected and met; a server meets one of the two at most."""
    for name, found in _seen(view).items():
        most = view.expects.get(name)
        if found is not None and most is not None and _meets(found, most):
            return Met(name, most, view.swarm.max_users)
    return None


def _seen(view: TrialView) -> dict[LimitName, int | None]:
    return {"max_open": refused_above(view.trial), "served_at_once": served_at_once(view.trial)}


def _meets(found: int, most: int) -> bool:
    return abs(found - most) <= TOLERANCE * most


def _words(name: LimitName, seen: int) -> str:
    if name == "max_open":
        return f"the server refused connections beyond {seen:,} open ones"
    plural = "s" if seen > 1 else ""
    return f"the server served {seen:,} connection{plural} at a time while the others waited"


# -- what follows from a limit: a function of the trial, the limit and a finding of one check


def fewer_connections(view: TrialView, limit: Met, _finding: Finding) -> bool:
    """Fewer users are connected: those below the limit are; the kernel holds a backlog of the others."""
    waiting = (view.trial.settings.backlog or 0) if limit.name == "served_at_once" else 0
    held = min(limit.users, limit.most + waiting) * (1 - TOLERANCE)
    return view.result.connected_peak >= held


def failed_share(view: TrialView, limit: Met, finding: Finding) -> bool:
    """Refused or left waiting: no more than the users beyond the limit, and by no other kind of error."""
    kinds = view.figures.errors.by_kind
    others = sum(number for kind, number in kinds.items() if kind not in FOLLOWS[limit.name])
    tried = view.whole.sent + (view.whole.connects or 0)
    stray = LIMITS["error_rate"].suspect or 0.0
    if finding.value is None or others > stray * tried:
        return False
    if (
        limit.name == "served_at_once"
    ):  # a client that waits in vain ends, and the server then serves the dead
        return view.whole.answered > 0
    return finding.value <= limit.most_left_out


def arrivals_wait(view: TrialView, limit: Met, _finding: Finding) -> bool:
    """Arrivals wait for a free connection: by Little's law those that are left cannot carry the rate."""
    parts = [part for part in view.parts.values() if part.open_load]
    if not parts or not view.whole.answered:
        return False
    means_ms = [part.figures.service_ms.mean for part in parts]
    if None in means_ms:
        return limit.name == "served_at_once"
    due = [part.swarm.load.arrivals_due(part.window_s) / part.window_s for part in parts]
    busy = sum(rate * (mean_ms or 0.0) / 1000 for rate, mean_ms in zip(due, means_ms, strict=True))
    return busy >= limit.most * (1 - TOLERANCE)


def undivided_lateness(view: TrialView, limit: Met, finding: Finding) -> bool:
    """Arrivals wait for a free connection, where an older record calls that a late send."""
    return view.result.lateness_generator_hdr is None and arrivals_wait(view, limit, finding)


def fewer_answers(view: TrialView, limit: Met, finding: Finding) -> bool:
    """Fewer answers: arrivals wait, or in a closed load the users beyond the limit send nothing."""
    if finding.value == view.window_s:
        return False
    needed = LIMITS["samples"].suspect or 0.0
    enough = view.figures.response_ms.samples >= needed * limit.fewest_served
    closed = any(not part.open_load for part in view.parts.values())
    return arrivals_wait(view, limit, finding) or (closed and enough)


def full_queue(_view: TrialView, limit: Met, finding: Finding) -> bool:
    """Fill the accept queue with connections that wait: the kernel drops the SYNs of more."""
    follows = tuple(COUNTERS[name][0] for name in FULL_QUEUE)
    return limit.name == "served_at_once" and finding.says.startswith(follows)
