"""Known limits of a server: what the scenario expects (`expect:`), against what was seen."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.checks.trial_view import NoData, Result, TrialView
from lab.analysis.limits import open_peak, refused, refused_above, served_at_once


def known_limits(view: TrialView) -> Iterator[Result]:
    """Did the server reach a known limit, and was it expected?

    One finding per limit that was expected or seen; one that was expected and seen does not count.
    """
    users = view.swarm.users
    if not view.trial.server_stats and (view.trial.model or view.expects):
        raise NoData(view.why_missing("server", "the server's statistics are missing"))
    if refused(view.trial) and open_peak(view.trial) is None:
        raise NoData("the server refused connections, and did not tell how many it held")
    seen = {"max_open": refused_above(view.trial), "served_at_once": served_at_once(view.trial)}
    for name, found in seen.items():
        most = view.expects.get(name)
        if found is not None and most is not None and found <= most:
            message = f"{_words(name, found)}: a known limit, expected ({name}: {most})"
            yield Result("ok", message, value=found, expected=True)
        elif found is not None:
            yield Result(
                "suspect", _words(name, found), f"if this limit is known, set `{name}` under `expect:`", found
            )
        elif most is not None and users > most:
            message = f"expected limit {name}: {most} was not met with {users:,} connections requested"
            yield Result("suspect", message, "correct the scenario's `expect:`, or find out why")


def _words(name: str, seen: int) -> str:
    if name == "max_open":
        return f"the server refused connections beyond {seen:,} open ones"
    plural = "s" if seen > 1 else ""
    return f"the server served {seen:,} connection{plural} at a time while the others waited"
