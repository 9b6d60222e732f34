"""One queue of the delay line: an NFQUEUE of the kernel and the scheduler of its packets."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from . import netlink, nfqueue
from .impairment import Impairment
from .scheduler import Action, Scheduler, Verdict

POLL_MIN_NS, POLL_MAX_NS = 100_000, 800_000
POLLS_PER_DELAY = 25  # a shorter delay is polled more often
COPY_MARK = 0x1AB  # the mark (SO_MARK) of the copies that we send: our rules accept them
_READS_MAX = 16
_WHOLE_PACKET_BYTES = 0xFFFF
_IDS_ASSIGNED_S = 0.001  # a message that the kernel built before a change of settings has its id by then


class DelayQueue:
    """Takes packets from an NFQUEUE, has them scheduled, and sends the verdicts when they are due.

    Raises:
        OSError: The kernel refuses the queue, or the raw socket that `duplicate` needs.
    """

    def __init__(self, number: int, impairment: Impairment) -> None:
        self.nfqueue = nfqueue.NfQueue(number)
        self.scheduler = Scheduler(impairment)
        self.duplicates_failed = 0
        self.closing = False
        self._raw: socket.socket | None = None
        self._last_id = 0  # of the packets that are scheduled; counts on where the kernel's 32 bits wrap
        self._configure(impairment)

    def change(self, impairment: Impairment, read_newest_id: Callable[[], int]) -> None:
        """Apply new settings to the packets that follow; those queued before are scheduled by the old ones.

        While both kinds are in the queue, the kernel copies of each packet what either setting needs.
        """
        self.nfqueue.set_notify(True)
        self._configure(self.scheduler.impairment, impairment)
        time.sleep(_IDS_ASSIGNED_S)
        newest_id, now_ns = read_newest_id(), time.monotonic_ns()
        while self._unscheduled(newest_id) and self.schedule(newest_id, now_ns):
            pass
        self.scheduler.change(impairment)
        self._configure(impairment)

    def set_notify(self, wanted: bool) -> None:
        """Set whether packets wake us. They always do if their contents are needed."""
        self.nfqueue.set_notify(wanted or self.scheduler.needs_contents)

    def drain_notifications(self) -> None:
        """Read the pending notifications. Call before the newest id is read: a packet may come in between."""
        if not self.scheduler.needs_contents:
            while len(self.nfqueue.read()) == nfqueue.MESSAGES_PER_READ:
                pass

    def schedule(self, newest_id: int, arrived_ns: int, arrival_error_ns: int = 0) -> int:
        """Schedule the packets that the kernel has queued since the last call; return their number.

        They count as arrived at `arrived_ns`, each half of them off by `arrival_error_ns` on average.
        """
        self.scheduler.arrival_error_ns = arrival_error_ns
        if self.scheduler.needs_contents:
            return self._read_and_schedule(arrived_ns)
        if count := self._unscheduled(newest_id):
            self._last_id += count
            if at_once := self.scheduler.enqueue_run(arrived_ns, self._last_id, count):
                self._send(at_once)
        return count

    @property
    def poll_interval_ns(self) -> int:
        """Time between two polls under load: the delay is n + ½ intervals.

        A packet that arrived in the middle between two polls is then due at a poll.
        """
        delay_ns = int(self.scheduler.impairment.delay_ms * 1e6)
        intervals = max(POLLS_PER_DELAY, delay_ns // POLL_MAX_NS)
        return max(2 * delay_ns // (2 * intervals + 1), POLL_MIN_NS)

    def release(self, now_ns: int, until_ns: int) -> None:
        """Send the verdicts on the packets that are due by `until_ns`."""
        due_ns = self.scheduler.next_due_ns
        if due_ns is not None and due_ns <= until_ns:
            self._send(self.scheduler.dequeue(now_ns, until_ns))

    def close(self) -> None:
        """Unbind the queue; the kernel drops what it still holds."""
        self.nfqueue.close()
        if self._raw:
            self._raw.close()

    def read_counters(self) -> dict[str, object]:
        """Return the counters since the start, and the lateness since the last call, as JSON."""
        scheduler, lateness = self.scheduler, self.scheduler.take_lateness()
        return {
            "packets": scheduler.packets,
            "bytes": scheduler.bytes if scheduler.needs_lengths else None,
            "dropped_asked": scheduler.dropped,
            "corrupted": scheduler.corrupted,
            "duplicated": scheduler.duplicated,
            "duplicates_failed": self.duplicates_failed,
            "reordered": scheduler.reordered,
            "verdicts_refused": self.nfqueue.verdicts_refused,
            "lateness_us": lateness,
        }

    def _unscheduled(self, newest_id: int) -> int:
        """Return the number of packets up to `newest_id` that are not scheduled yet."""
        count = (newest_id - self._last_id) & netlink.ID_MASK
        return count if count <= netlink.ID_MASK // 2 else 0  # more than half the range: an id of the past

    def _configure(self, *impairments: Impairment) -> None:
        """Have the kernel copy of each packet what all these settings need."""
        if any(one.duplicate for one in impairments) and self._raw is None:
            self._raw = _raw_socket()
        copy_bytes = 0
        if any(one.needs_payload for one in impairments):
            copy_bytes = _WHOLE_PACKET_BYTES
        elif any(one.needs_lengths for one in impairments):
            copy_bytes = nfqueue.IPV4_HEADER_BYTES
        whole_segments = all(one.constant for one in impairments)
        self.nfqueue.configure(copy_bytes, whole_segments, impairments[-1].limit_packets)

    def _read_and_schedule(self, arrived_ns: int) -> int:
        """Read the packets from the socket and schedule them by their contents; return their number."""
        taken = 0
        for _ in range(_READS_MAX):
            if ids := self.nfqueue.read():
                taken += len(ids)
                self._schedule_each(arrived_ns, ids)
            if len(ids) < nfqueue.MESSAGES_PER_READ:
                break
            arrived_ns = time.monotonic_ns()
        return taken

    def _schedule_each(self, arrived_ns: int, ids: tuple[int, ...]) -> None:
        scheduler, queue = self.scheduler, self.nfqueue
        at_once: list[Verdict] = []
        for index, packet_id in enumerate(ids):
            ahead = self._unscheduled(packet_id)
            if not ahead:
                continue  # scheduled before its contents were needed
            self._last_id += ahead
            payload = bytes(queue.payload(index)) if scheduler.needs_payload else b""
            at_once += scheduler.enqueue(arrived_ns, self._last_id, queue.packet_bytes(index), payload)
        if at_once:
            self._send(at_once)

    def _send(self, verdicts: list[Verdict]) -> None:
        """Send the verdicts to the kernel in order, as many as possible in one system call."""
        number, messages = self.nfqueue.number, b""
        for action, packet_id, payload in verdicts:
            if action is Action.ACCEPT_UP_TO:
                messages += netlink.accept_up_to(number, packet_id)
            elif action is Action.DROP:
                messages += netlink.drop(number, packet_id)
            elif action is Action.ACCEPT:
                messages += netlink.accept(number, packet_id)
            elif action is Action.ACCEPT_CHANGED:
                messages += netlink.accept(number, packet_id, payload)
            else:
                if messages:
                    self.nfqueue.send_verdicts(messages)
                    messages = b""
                self._send_copy(payload)
        if messages:
            self.nfqueue.send_verdicts(messages)

    def _send_copy(self, payload: bytes) -> None:
        """Send a packet with its own headers (IPPROTO_RAW); its mark takes it past our rules."""
        assert self._raw is not None
        try:
            self._raw.sendto(payload, (socket.inet_ntoa(payload[16:20]), 0))
        except OSError:  # longer than the MTU, or IPv6: counted and reported
            self.duplicates_failed += 1


def _raw_socket() -> socket.socket:
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    except PermissionError as error:
        raise OSError(error.errno, "duplicate: the delay line needs NET_RAW to send copies") from error
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, COPY_MARK)
    raw.setblocking(False)
    return raw
