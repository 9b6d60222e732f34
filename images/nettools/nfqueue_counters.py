"""What procfs shows of the NFQUEUEs of this network namespace.

The id of the newest packet is incremented under the lock that every verdict takes: a packet whose id can be
read here is in its queue when a verdict on it arrives. Source: net/netfilter/nfnetlink_queue.c, seq_show.
"""

from __future__ import annotations

import os
from pathlib import Path

_FILE = Path("/proc/self/net/netfilter/nfnetlink_queue")
_PAGE_BYTES = 4096  # a read of procfs returns at most one page
_ROW_MAX_BYTES = 80


class NewestIds:
    """The id of the newest packet of every queue, for one read of an open file."""

    def __init__(self) -> None:
        self._file = _FILE.open("rb")

    def read(self) -> dict[int, int]:
        """Return queue number → id of its newest packet, 0 before the first."""
        page = content = os.pread(self._file.fileno(), _PAGE_BYTES, 0)
        while len(page) > _PAGE_BYTES - _ROW_MAX_BYTES:
            page = os.pread(self._file.fileno(), _PAGE_BYTES, len(content))
            content += page
        columns = content.split()
        return dict(zip(map(int, columns[::9]), map(int, columns[7::9]), strict=True))


def counters() -> dict[int, dict[str, int]]:
    """Return queue number → the kernel's counters, in packets.

    `held` now, `dropped_queue` (longer than its `maxlen`), `dropped_user` (receive buffer full), `packets`.
    """
    table = {}
    for line in _FILE.read_text().splitlines():
        number, _port, held, _mode, _range, dropped_queue, dropped_user, newest_id = map(
            int, line.split()[:8]
        )
        table[number] = {
            "held": held,
            "dropped_queue": dropped_queue,
            "dropped_user": dropped_user,
            "packets": newest_id,
        }
    return table
