"""Connections and TCP counters of a node's network namespace, through /proc/PID/net (proc(5), netstat(8))."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from lab.common.clock import mono_ms
from lab.results.record import Sample

COUNTERS = {
    "TcpExt": {
        "ListenOverflows": "listen_overflows",
        "ListenDrops": "listen_drops",
        "TCPTimeouts": "tcp_timeouts",
        "TCPSynRetrans": "syn_retransmits",
        "TCPAbortOnTimeout": "aborts_on_timeout",
        "TCPReqQFullDrop": "request_queue_drops",
        "TCPReqQFullDoCookies": "syn_cookies",
    },
    "Tcp": {
        "RetransSegs": "retransmits",
        "InSegs": "segments_in",
        "OutSegs": "segments_out",
        "CurrEstab": "established",
    },
    "Udp": {
        "RcvbufErrors": "udp_receive_errors",
        "SndbufErrors": "udp_send_errors",
        "InDatagrams": "datagrams_in",
    },
}  # fmt: skip


class Sockets:
    """Reads the namespace of each node's first process."""

    source = "sockets"

    def __init__(
        self, nodes: Iterable[str], pids: Callable[[str], list[int]], proc: Path = Path("/proc")
    ) -> None:
        self._nodes = tuple(nodes)
        self._pids = pids
        self._proc = proc
        self._first: dict[str, int] = {}

    def sample(self) -> Iterable[Sample]:
        """Yield established, tcp_inuse, time_wait, listen_overflows, retransmits and their kin."""
        for node in self._nodes:
            net = self._net(node)
            if net is None:
                continue
            now = mono_ms()
            for metric, value in _namespace(net):
                yield Sample(now, node, self.source, metric, value)

    def _net(self, node: str) -> Path | None:
        """Return the folder of the node's namespace: by its first process, by another once that has ended."""
        if node in self._first and not (self._proc / str(self._first[node])).exists():
            del self._first[node]
        if node not in self._first and (pids := self._pids(node)):
            self._first[node] = pids[0]
        return self._proc / str(self._first[node]) / "net" if node in self._first else None


def _namespace(net: Path) -> Iterator[tuple[str, float]]:
    try:
        for name in ("netstat", "snmp"):
            for group, table in paired_tables((net / name).read_text()).items():
                for theirs, ours in COUNTERS.get(group, {}).items():
                    if theirs in table:
                        yield ours, table[theirs]
        for line in (net / "sockstat").read_text().splitlines():
            if line.startswith("TCP:"):
                words = line.split()
                pairs = dict(zip(words[1::2], words[2::2], strict=False))
                yield "tcp_inuse", float(pairs["inuse"])
                yield "time_wait", float(pairs["tw"])
    except (FileNotFoundError, ProcessLookupError):
        return


def paired_tables(text: str) -> Mapping[str, Mapping[str, float]]:
    """Read /proc/net/snmp or netstat: a line of names, then a line of values, per group."""
    lines = text.splitlines()
    tables: dict[str, dict[str, float]] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        group, _, header = names.partition(":")
        tables[group] = dict(zip(header.split(), map(float, values.split()[1:]), strict=False))
    return tables
