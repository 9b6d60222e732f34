"""Check before the load that a worker has enough client ports.

The side that closes a TCP connection first keeps its port in TIME_WAIT for 60 s (tcp(7); TCP_TIMEWAIT_LEN
in the kernel). With a connection per request on the wires echo and greet that is the client, and a rate
above ports / 60 s runs out of ports. With `tcp_tw_reuse` a port is free again after 1 s; its value 2, the
default, allows that on loopback only.
"""

from __future__ import annotations

import math
from pathlib import Path

from .errors import HostError
from .settings import Settings

TIME_WAIT_S, REUSED_AFTER_S = 60.0, 1.0
SYSCTL = Path("/proc/sys/net/ipv4")


def needed(settings: Settings, reuse: int) -> int:
    """Return how many ports a worker needs; 0 if the server closes first or the rate is not known."""
    closes_first = settings.wire == "greet" or (settings.wire == "echo" and settings.clients.churn)
    if not closes_first or settings.load.peak_rate_per_s is None:
        return 0
    loopback = settings.target.host in ("localhost",) or settings.target.host.startswith("127.")
    kept_s = REUSED_AFTER_S if reuse == 1 or (reuse == 2 and loopback) else TIME_WAIT_S
    used = settings.load.peak_rate_per_s * min(kept_s, settings.load_s) + settings.users
    return math.ceil(used / settings.workers)


def available(settings: Settings) -> int:
    """Return how many ports a worker has: the local port range for each source address."""
    low, high = (int(word) for word in (SYSCTL / "ip_local_port_range").read_text().split())
    return (high - low + 1) * max(1, len(settings.source_addresses))


def check(settings: Settings) -> None:
    """Compare the ports that a worker needs with those it has.

    Raises:
        HostError: It would run out of ports.
    """
    need, have = needed(settings, int((SYSCTL / "tcp_tw_reuse").read_text())), available(settings)
    if need > have:
        raise HostError(
            f"{need:,} ports needed, a worker has {have:,}: each stays in TIME_WAIT for {TIME_WAIT_S:g} s; "
            "use more workers, more source addresses, a wider ip_local_port_range or a lower rate"
        )
