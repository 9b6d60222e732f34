"""An example of what each key takes, for errors: what they advise is valid at the key."""

from __future__ import annotations

from collections.abc import Mapping

# A value of each key that takes a number, a quantity or text.
EXAMPLES: Mapping[str, str] = {
    "users": "100", "workers": "2", "engines": "1", "spawn-rate": "500", "port": "9102", "backlog": "4096",
    "cpus": "1.5", "nofile": "1024", "pids": "256", "repeat": "3", "seed": "1", "gap": "5", "steps": "10",
    "sigma": "0.5", "max_open": "1024", "served_at_once": "1", "name": "c10k", "model": "thread",
    "image": "my-server:1", "locustfile": "users.py", "executor": "constant-arrival-rate",
    "network-pool": "198.18.0.0/15", "results": "results", "pause": "thread", "kill": "thread",
    "at": "2s", "for": "1s", "warmup": "3s", "measure": "10s", "duration": "5s", "connect-deadline": "10s",
    "request-timeout": "5s", "drain": "5s", "delay": "50ms", "jitter": "5ms", "think-time": "500ms",
    "median": "500ms", "exponential": "500ms", "delay_abort_eval": "2s", "memory": "1GiB",
    "start-rate": "100/s", "slow-rate": "10B/s", "idle": "90%", "slow": "5%",
    "correlation": "25%", "loss": "1%", "loss-correlation": "25%", "corrupt": "0.1%",
    "duplicate": "0.1%", "reorder": "1%",
    "restart": "thread", "limit": "thread", "question": "'Which server is faster?'",
}  # fmt: skip
# The keys that take true or false.
BOOLEANS = frozenset({"churn", "at-once", "clear", "abort_on_fail", "real-time"})
