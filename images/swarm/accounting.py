"""The engine's outcomes in Locust's own statistics, in bulk.

Locust books one event per request for 35 us; here a second's worth is added at once, to the fields that
`log` and `log_error` would have changed. They travel to the master by Locust's own report, which makes its
totals an independent count of what was answered and what failed.
"""

from __future__ import annotations

import time
from typing import Any

from locust import stats as locust_stats

from .histogram import Counts, unpack


class Books:
    """What has been booked so far, so that a corrected second adds only its difference."""

    def __init__(self, stats: locust_stats.RequestStats, method: str, name: str) -> None:
        self._stats, self._method, self._name = stats, method, name
        self._booked: dict[tuple[int, int, str], tuple[int, int, int, Counts, dict[str, int]]] = {}

    def book(self, engine: int, record: dict[str, Any]) -> None:
        """Add a `second` record of an engine; a later one of the same second replaces the former."""
        key = (engine, record["k"], record["phase"])
        now = (
            record["answered"],
            record["failed"],
            record["bytes_in"],
            unpack(record["response"]),
            record["errors"],
        )
        answered, failed, size, response, errors = self._booked.get(key, (0, 0, 0, {}, {}))
        if record["intended"] == record["answered"] + record["failed"] + record["unsent"]:
            self._booked.pop(key, None)  # settled: it will not be told again
        else:
            self._booked[key] = now
        new_response = {us: n - response.get(us, 0) for us, n in now[3].items() if n != response.get(us, 0)}
        entries = (self._stats.get(self._name, self._method), self._stats.total)
        for entry in entries:
            _add(entry, now[0] - answered, now[1] - failed, now[2] - size, new_response)
        for kind, count in now[4].items():
            self._fault(kind, count - errors.get(kind, 0))

    def _fault(self, kind: str, count: int) -> None:
        key = locust_stats.StatsError.create_key(self._method, self._name, kind)
        error = self._stats.errors.setdefault(key, locust_stats.StatsError(self._method, self._name, kind))
        error.occurrences += count


def _add(entry: Any, answered: int, failed: int, size: int, response: Counts) -> None:
    now = time.time()
    entry.num_requests += answered + failed
    entry.num_none_requests += failed  # no response time of their own
    entry.num_failures += failed
    entry.num_reqs_per_sec[int(now)] += answered + failed
    entry.num_fail_per_sec[int(now)] += failed
    entry.total_content_length += size
    if answered or failed:
        entry.last_request_timestamp = now
    for us, count in response.items():
        ms = us / 1e3
        entry.response_times[locust_stats.bucket_response_time(ms)] += count
        entry.total_response_time += ms * count
        entry.max_response_time = max(entry.max_response_time, ms)
        entry.min_response_time = ms if entry.min_response_time is None else min(entry.min_response_time, ms)
