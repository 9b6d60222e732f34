"""Known limits of servers, seen in the data: above what one refuses, how many it serves at once."""

from __future__ import annotations

import math
from typing import NamedTuple

from lab.analysis.histogram import times
from lab.results.link import LinkRecord
from lab.results.record import TrialRecord

SERVER = "server"
WAITED = ("timeout", "connect_timeout", "unanswered")
# The server's own peak may lag a little behind what clients hold; well below means that the rest waited.
HELD_BACK_SHARE = 0.9
# A backlog that grew by more than this share of the window's requests: the server did not keep up.
BACKLOG_SHARE = 0.01
# Few requests under way vary by chance: of a number n, the standard deviation is at most √n (Poisson).
CHANCE_SIGMAS = 4.0


def open_peak(trial: TrialRecord) -> int | None:
    """Return connections the server held open at once, by its own count; None where it prints none."""
    seen = [trial.series.highest(SERVER, "server", name) for name in ("open_peak", "open")]
    said = [stats.open_peak for stats in trial.server_stats]
    known = [value for value in (*seen, *said) if value is not None]
    return int(max(known)) if known else None


class Backlog(NamedTuple):
    """Requests that were due and had no outcome, at both ends of the window of an open load.

    `share`: how much they grew, as a share of the window's requests, beyond what a rate that rises by design
    brings with it (`by_rate`): those that it adds in the least time of a response.
    """

    start: int
    end: int
    by_rate: float
    share: float

    @property
    def grew(self) -> bool:
        """Whether the server did not keep up: by more than its share, and more than by chance."""
        chance = CHANCE_SIGMAS * math.sqrt(max(self.start, self.end))
        return self.share > BACKLOG_SHARE and self.end - self.start - self.by_rate > chance


def backlog(trial: TrialRecord) -> Backlog | None:
    """Return the backlog of an open load; None for a closed one, and where it was not counted."""
    swarm = trial.scenario.swarm
    if trial.load is None or swarm.groups or swarm.load.is_closed:
        return None
    result = trial.load.result
    before = (result.in_flight_start, result.queued_start)
    after = (result.in_flight_end, result.queued_end)
    if None in (*before, *after) or not result.intended:
        return None
    start, end = (sum(count for count in counts if count is not None) for counts in (before, after))
    by_rate = _by_rate(trial)
    return Backlog(start, end, by_rate, (end - start - by_rate) / result.intended)


def _by_rate(trial: TrialRecord) -> float:
    """Return how many more requests are under way at the end because more arrive then: each takes time."""
    assert trial.load is not None
    load, seen = trial.scenario.swarm.load, times(trial.load.result.response_hdr)
    rates = load.kind.rates(load)
    return max(0.0, rates[-1] - rates[0]) * seen.min_us / 1e6 if seen.samples else 0.0


def refused(trial: TrialRecord) -> bool:
    """Return whether the server refused connections at a limit of its own."""
    return any(stats.errors.get("refused_limit") for stats in trial.server_stats)


def refused_above(trial: TrialRecord) -> int | None:
    """Return the number of connections above which the server refused more; None where it refused none."""
    return open_peak(trial) if refused(trial) else None


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
