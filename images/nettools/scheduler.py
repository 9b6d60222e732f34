"""Decide when each packet leaves: the delay line without I/O. Packets in, verdicts out.

Packets leave in the order of arrival unless `reorder` sends one ahead. So the backlog is a FIFO, and
consecutive packets that are only delayed and due together are one entry. Times are nanoseconds of any
monotonic clock.

A lost packet stays in the FIFO and is dropped when its turn comes: the kernel looks a packet up from the head
of its list, so a verdict for the oldest packet is O(1) and for the newest O(n). With `rate`, the transmission
of a packet starts when its delay is over and the previous packet is sent, as in netem.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from random import Random
from typing import NamedTuple

from . import loss_models
from .histogram import Histogram
from .impairment import Impairment
from .jitter import jitter_sampler

ETHERNET_HEADER_BYTES = 14


class Action(Enum):
    """What a verdict does."""

    ACCEPT_UP_TO = "accept the packet and all before it"
    ACCEPT = "accept the packet alone, ahead of those before it"
    ACCEPT_CHANGED = "accept the packet alone, with a changed payload"
    DROP = "drop the packet"
    SEND_COPY = "send a second copy of the packet"


class Verdict(NamedTuple):
    """An action on a packet; `payload` (IP header first) for ACCEPT_CHANGED and SEND_COPY only."""

    action: Action
    packet_id: int
    payload: bytes = b""


class BacklogEntry(NamedTuple):
    """Consecutive packets that leave together, the newest with id `last_id`.

    Without `verdicts` they are accepted. `arrival_error_ns` is how far, on average, the arrivals of the older
    half were before the assumed arrival time, and those of the newer half after it.
    """

    due_ns: int
    last_id: int
    packets: int
    arrival_error_ns: int = 0
    verdicts: tuple[Verdict, ...] = ()


class Scheduler:
    """One direction of one link.

    Call `enqueue` per packet while `needs_contents`, else `enqueue_run`, which is faster.
    """

    def __init__(self, impairment: Impairment) -> None:
        self._backlog: deque[BacklogEntry] = deque()
        self._last_due_ns = 0
        self.arrival_error_ns = 0  # of the packets enqueued next; counts as lateness of the older half
        self.lateness_us = Histogram()
        self.packets = self.bytes = self.dropped = self.corrupted = self.duplicated = self.reordered = 0
        self.change(impairment)

    def change(self, impairment: Impairment) -> None:
        """Apply new settings to the packets that follow; the backlog keeps its due times and its order."""
        self.impairment = impairment
        random = self._random = Random(impairment.seed)
        self._delay_ns = int(impairment.delay_ms * 1e6)
        self._jitter_ns = jitter_sampler(impairment, random) if impairment.jitter_ms else None
        self._is_lost = loss_models.loss(impairment, random)
        self._is_corrupted = loss_models.bernoulli(impairment.corrupt, impairment.corrupt_correlation, random)
        self._is_duplicated = loss_models.bernoulli(
            impairment.duplicate, impairment.duplicate_correlation, random
        )
        self._is_reordered = loss_models.bernoulli(impairment.reorder, impairment.reorder_correlation, random)
        self._since_reordered = 0
        rate = impairment.rate_bit_per_s
        self._ns_per_byte = 8e9 / rate if rate else 0.0
        # Copied from the impairment, because they are read for every packet.
        self.needs_lengths, self.needs_payload = impairment.needs_lengths, impairment.needs_payload
        self.needs_contents = self.needs_lengths or self.needs_payload
        only_delay_and_loss = not (self.needs_contents or impairment.reorder)
        self._enqueue_run = self._enqueue_delay_and_loss if only_delay_and_loss else self._enqueue_each
        if impairment.constant:
            self._enqueue_run = self._enqueue_constant_delay

    @property
    def next_due_ns(self) -> int | None:
        """Due time of the oldest entry of the backlog; None if that is empty."""
        return self._backlog[0].due_ns if self._backlog else None

    @property
    def backlog(self) -> int:
        """Number of entries in the backlog, each a packet or a run of packets."""
        return len(self._backlog)

    def enqueue_run(self, now_ns: int, newest_id: int, count: int) -> list[Verdict]:
        """Enqueue `count` packets that arrived at `now_ns`, the newest with id `newest_id`.

        Returns:
            The verdicts to send at once.
        """
        return self._enqueue_run(now_ns, newest_id, count)

    def enqueue(
        self, now_ns: int, packet_id: int, length: int = 0, payload: bytes = b""
    ) -> tuple[Verdict, ...]:
        """Enqueue one packet of `length` bytes, counted from its IP header on.

        Returns:
            The verdicts to send at once.
        """
        self.packets += 1
        self.bytes += length
        copies = 1 + self._is_duplicated() - self._is_lost()
        if not copies:
            self.dropped += 1
            self._append(max(self._last_due_ns, now_ns), packet_id, (Verdict(Action.DROP, packet_id),))
            return ()
        if self._goes_ahead():
            self.reordered += 1
            return self._verdicts(packet_id, payload, copies) or (Verdict(Action.ACCEPT, packet_id),)
        due_ns = now_ns + self._delay_ns
        if self._jitter_ns:
            due_ns = max(due_ns + self._jitter_ns(), now_ns)
        due_ns = max(due_ns, self._last_due_ns)
        if self._ns_per_byte:
            due_ns += int(copies * (length + ETHERNET_HEADER_BYTES) * self._ns_per_byte)
        self._last_due_ns = due_ns
        self._append(due_ns, packet_id, self._verdicts(packet_id, payload, copies))
        return ()

    def dequeue(self, now_ns: int, until_ns: int) -> list[Verdict]:
        """Remove the packets that are due by `until_ns`; return their verdicts in order.

        Lateness is `now_ns` minus the due time. All packets of a run count as late as its oldest, so the
        recorded lateness is an upper bound.
        """
        backlog, verdicts, accepted_id = self._backlog, [], None
        while backlog and backlog[0].due_ns <= until_ns:
            due_ns, last_id, count, arrival_error_ns, own_verdicts = backlog.popleft()
            if arrival_error_ns:  # the older half arrived earlier than assumed: it is late by that much more
                self.lateness_us.add((now_ns - due_ns + arrival_error_ns) // 1000, count - count // 2)
                count //= 2
            self.lateness_us.add((now_ns - due_ns) // 1000, count)
            if not own_verdicts:
                accepted_id = last_id
                continue
            if accepted_id is not None:
                verdicts.append(Verdict(Action.ACCEPT_UP_TO, accepted_id))
                accepted_id = None
            verdicts.extend(own_verdicts)
        if accepted_id is not None:
            verdicts.append(Verdict(Action.ACCEPT_UP_TO, accepted_id))
        return verdicts

    def take_lateness(self) -> dict[str, int | None]:
        """Return the lateness since the last call, in microseconds, as JSON."""
        taken, self.lateness_us = self.lateness_us, Histogram()
        return taken.to_json()

    def _enqueue_constant_delay(self, now_ns: int, newest_id: int, count: int) -> list[Verdict]:
        due_ns = self._last_due_ns = max(now_ns + self._delay_ns, self._last_due_ns)
        self._backlog.append(BacklogEntry(due_ns, newest_id, count, self.arrival_error_ns))
        self.packets += count
        return []

    def _enqueue_delay_and_loss(self, now_ns: int, newest_id: int, count: int) -> list[Verdict]:
        """As `enqueue` for each packet, without the impairments that are not in use here."""
        append, is_lost, jitter_ns = self._backlog.append, self._is_lost, self._jitter_ns or _no_jitter
        base_ns, last_due_ns, run = now_ns + self._delay_ns, self._last_due_ns, 0
        error_ns = self.arrival_error_ns
        for packet_id in range(newest_id - count + 1, newest_id + 1):
            if is_lost():
                if run:
                    append(BacklogEntry(last_due_ns, packet_id - 1, run, error_ns))
                    run = 0
                self.dropped += 1
                drop = (Verdict(Action.DROP, packet_id),)
                append(BacklogEntry(max(last_due_ns, now_ns), packet_id, 1, error_ns, drop))
                continue
            due_ns = base_ns + jitter_ns()
            if due_ns < now_ns:
                due_ns = now_ns
            if due_ns > last_due_ns:
                if run:
                    append(BacklogEntry(last_due_ns, packet_id - 1, run, error_ns))
                    run = 0
                last_due_ns = due_ns
            run += 1
        if run:
            append(BacklogEntry(last_due_ns, newest_id, run, error_ns))
        self._last_due_ns = last_due_ns
        self.packets += count
        return []

    def _enqueue_each(self, now_ns: int, newest_id: int, count: int) -> list[Verdict]:
        ids = range(newest_id - count + 1, newest_id + 1)
        return [verdict for packet_id in ids for verdict in self.enqueue(now_ns, packet_id)]

    def _goes_ahead(self) -> bool:
        """Whether the next packet skips the delay: netem's `reorder` with `gap`."""
        if not self.impairment.reorder:
            return False
        self._since_reordered += 1
        if self._since_reordered < self.impairment.reorder_gap or not self._is_reordered():
            return False
        self._since_reordered = 0
        return True

    def _verdicts(self, packet_id: int, payload: bytes, copies: int) -> tuple[Verdict, ...]:
        """Return the verdicts on a corrupted or duplicated packet; none for any other."""
        verdicts: tuple[Verdict, ...] = ()
        if self._is_corrupted():
            self.corrupted += 1
            payload = self._flip_one_bit(payload)
            verdicts = (Verdict(Action.ACCEPT_CHANGED, packet_id, payload),)
        if copies > 1:
            self.duplicated += 1
            verdicts = verdicts or (Verdict(Action.ACCEPT, packet_id),)
            verdicts += (Verdict(Action.SEND_COPY, packet_id, payload),)
        return verdicts

    def _flip_one_bit(self, payload: bytes) -> bytes:
        """Flip one random bit of the packet, headers included, as netem does; a checksum detects it."""
        changed = bytearray(payload)
        changed[int(self._random.random() * len(changed))] ^= 1 << int(self._random.random() * 8)
        return bytes(changed)

    def _append(self, due_ns: int, packet_id: int, verdicts: tuple[Verdict, ...]) -> None:
        self._backlog.append(BacklogEntry(due_ns, packet_id, 1, self.arrival_error_ns, verdicts))


def _no_jitter() -> int:
    return 0
