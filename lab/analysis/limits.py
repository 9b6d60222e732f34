"""Known limits of servers, seen in the data: above what one refuses, how many it serves at once."""

from __future__ import annotations

from lab.results.record import TrialRecord

SERVER = "server"
WAITED = ("timeout", "connect_timeout", "unanswered")
# The server's own peak may lag a little behind what clients hold; well below means that the rest waited.
HELD_BACK_SHARE = 0.9


def open_peak(trial: TrialRecord) -> int | None:
    """Return connections the server held open at once, by its own count; None where it prints none."""
    seen = [trial.series.highest(SERVER, "server", name) for name in ("open_peak", "open")]
    said = [stats.open_peak for stats in trial.server_stats]
    known = [value for value in (*seen, *said) if value is not None]
    return int(max(known)) if known else None


def refused(trial: TrialRecord) -> bool:
    """Return whether the server refused connections at a limit of its own."""
    return any(stats.errors.get("refused_limit") for stats in trial.server_stats)


def refused_above(trial: TrialRecord) -> int | None:
    """Return the number of connections above which the server refused more; None where it refused none."""
    return open_peak(trial) if refused(trial) else None


def served_at_once(trial: TrialRecord) -> int | None:
    """How many connections the server served at once while others, held by the kernel only, waited in vain.

    A connection in the accept queue is established for the client (listen(2)): only the server's own count
    against the client's tells them apart. None where nobody was held back.
    """
    if trial.load is None:
        return None
    result = trial.load.result
    peak, connected = open_peak(trial), result.connected_peak
    if not peak or refused_above(trial) is not None or peak >= HELD_BACK_SHARE * connected:
        return None
    waited = any(kind in result.errors for kind in WAITED) or result.unsent > 0
    return peak if waited else None
