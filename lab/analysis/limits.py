"""Known limits of servers, seen in the data: above what one refuses, how many it serves at once."""

from __future__ import annotations

from lab.results.link import LinkRecord
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


def refused_above(trial: TrialRecord) -> int | None:
    """Return the number of connections above which the server refused more; None where it refused none."""
    refused = any(stats.errors.get("refused_limit") for stats in trial.server_stats)
    return open_peak(trial) if refused else None


def queue_overran(link: LinkRecord) -> bool:
    """Whether a full queue dropped packets of a link without a rate. netem counts losses with them."""
    if any(direction.rate_bit_per_s for direction in link.requested):
        return False
    told = link.requested.loss_share == 0 and not link.changes
    return any(
        one.dropped_user or one.dropped_queue or (told and one.dropped) for one in link.counters.values()
    )


def served_at_once(trial: TrialRecord) -> int | None:
    """How many connections the server served at once while others, held by the kernel only, waited in vain.

    A connection in the accept queue is established for the client (listen(2)): only the server's own count
    against the client's tells them apart. None where nobody was held back, and where a link's full queue
    dropped packets: then a client may believe in a connection whose last segment never reached the server.
    """
    if trial.load is None or any(map(queue_overran, trial.links)):
        return None
    result = trial.load.result
    peak, connected = open_peak(trial), result.connected_peak
    if not peak or refused_above(trial) is not None or peak >= HELD_BACK_SHARE * connected:
        return None
    waited = any(kind in result.errors for kind in WAITED) or result.unsent > 0
    return peak if waited else None
