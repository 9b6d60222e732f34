"""The engines' outcomes in Locust's own statistics, added in bulk.

Locust takes 35 us to log one request event. Here a whole second is added at once, to the fields that
Locust's `log` and `log_error` would have changed. Locust reports them to the master, so its totals are an
independent count of what was answered and what failed.
"""

from __future__ import annotations

import time
from typing import Any

from locust import stats

from .histogram import Counts, unpack


class LocustStats:
    """Adds `second` records; a second that is reported again adds only its difference."""

    def __init__(self, request_stats: stats.RequestStats, method: str, name: str) -> None:
        self._stats, self._method, self._name = request_stats, method, name
        self._added: dict[tuple[int, int, str], tuple[int, int, int, Counts, dict[str, int]]] = {}

    def add(self, engine: int, record: dict[str, Any]) -> None:
        """Add a `second` record of an engine; a later record of the same second replaces the former."""
        key = (engine, record["k"], record["phase"])
        now = (
            record["answered"],
            record["failed"],
            record["bytes_in"],
            unpack(record["response"]),
            record["errors"],
        )
        answered, failed, size, response, errors = self._added.get(key, (0, 0, 0, {}, {}))
        if record["intended"] == record["answered"] + record["failed"] + record["unsent"]:
            self._added.pop(key, None)  # settled: it will not be reported again
        else:
            self._added[key] = now
        new_response = {us: n - response.get(us, 0) for us, n in now[3].items() if n != response.get(us, 0)}
        entries = (self._stats.get(self._name, self._method), self._stats.total)
        for entry in entries:
            _add(entry, now[0] - answered, now[1] - failed, now[2] - size, new_response)
        for kind, count in now[4].items():
            self._add_errors(kind, count - errors.get(kind, 0))

    def _add_errors(self, kind: str, count: int) -> None:
        key = stats.StatsError.create_key(self._method, self._name, kind)
        error = self._stats.errors.setdefault(key, stats.StatsError(self._method, self._name, kind))
        error.occurrences += count


def _add(entry: Any, answered: int, failed: int, size: int, response: Counts) -> None:
    now = time.time()
    entry.num_requests += answered + failed
    entry.num_none_requests += failed  # they have no response time
    entry.num_failures += failed
    entry.num_reqs_per_sec[int(now)] += answered + failed
    entry.num_fail_per_sec[int(now)] += failed
    entry.total_content_length += size
    if answered or failed:
        entry.last_request_timestamp = now
    for us, count in response.items():
        ms = us / 1e3
        entry.response_times[stats.bucket_response_time(ms)] += count
        entry.total_response_time += ms * count
        entry.max_response_time = max(entry.max_response_time, ms)
        entry.min_response_time = ms if entry.min_response_time is None else min(entry.min_response_time, ms)
