"""When each packet leaves: the delay line without any I/O. Packets in, due times and verdicts out.

Packets leave in the order in which they came unless `reorder` sends one ahead, so what is held is a plain
queue and a run of packets with one fate is one entry. Times are nanoseconds of any monotonic clock.

A lost packet keeps its place and is dropped when its turn comes: the kernel finds the oldest id at once but
walks its whole list for the newest. With `rate`, a packet leaves when the link has sent the one before it and
itself, but not before its delay is over, as in netem.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from random import Random
from typing import NamedTuple

from . import chance
from .histogram import Histogram
from .impairment import Impairment

ETHERNET_HEADER_BYTES = 14


class Do(Enum):
    """What becomes of a packet."""

    RELEASE = "release it and all before it"
    DROP = "drop it"
    REPLACE = "release it with a changed payload"
    AHEAD = "release it alone, before those that wait"
    COPY = "send a second copy of its payload"


class Verdict(NamedTuple):
    """One thing to tell the kernel: what to do, the packet's id, its payload where one is needed."""

    do: Do
    packet_id: int
    payload: bytes = b""


class Held(NamedTuple):
    """An entry of the queue: due time, newest id, number of packets, and a fate other than release.

    `unsure_ns`: so much earlier or later, on average, each half of the packets came, and so is due.
    """

    due_ns: int
    packet_id: int
    packets: int
    unsure_ns: int = 0
    fate: tuple[Verdict, ...] = ()


class Line:
    """One direction of one link. Feed it with `packet` while it `needs_contents`, else better with `run`."""

    def __init__(self, impairment: Impairment) -> None:
        self._held: deque[Held] = deque()
        self._last_due_ns = 0
        self.unsure_ns = 0  # of the packets that are decided on now; counts as their lateness
        self.lateness_us = Histogram()
        self.packets = self.bytes = self.dropped = self.corrupted = self.duplicated = self.reordered = 0
        self.change(impairment)

    def change(self, impairment: Impairment) -> None:
        """Impair by these settings from now on. What is held keeps its time and its place before the rest."""
        self.impairment = impairment
        random = self._random = Random(impairment.seed)
        self._delay_ns = int(impairment.delay_ms * 1e6)
        self._jitter_ns = chance.jitter_ns(impairment, random) if impairment.jitter_ms else None
        self._lost = chance.loss(impairment, random)
        self._corrupt = chance.event(impairment.corrupt, impairment.corrupt_correlation, random)
        self._duplicate = chance.event(impairment.duplicate, impairment.duplicate_correlation, random)
        self._ahead = chance.event(impairment.reorder, impairment.reorder_correlation, random)
        self._since_ahead = 0
        rate = impairment.rate_bit_per_s
        self._ns_per_byte = 8e9 / rate if rate else 0.0
        # Whether `packet` must be told lengths, be given payloads, or either: asked for every packet.
        self.needs_lengths, self.needs_payload = impairment.needs_lengths, impairment.needs_payload
        self.needs_contents = self.needs_lengths or self.needs_payload
        only_delayed_or_lost = not (self.needs_contents or impairment.reorder)
        self._decide = self._delay_or_lose if only_delayed_or_lost else self._decide_singly
        if impairment.constant:
            self._decide = self._delay

    @property
    def next_due_ns(self) -> int | None:
        """When the oldest held packet is to leave."""
        return self._held[0].due_ns if self._held else None

    def run(self, now_ns: int, newest_id: int, count: int) -> list[Verdict]:
        """Decide on `count` packets that came together, ids up to that one; the verdicts due at once."""
        return self._decide(now_ns, newest_id, count)

    def packet(
        self, now_ns: int, packet_id: int, length: int = 0, payload: bytes = b""
    ) -> tuple[Verdict, ...]:
        """Decide on one packet of `length` bytes from its IP header on; the verdicts that are due at once."""
        self.packets += 1
        self.bytes += length
        copies = 1 + self._duplicate() - self._lost()
        if not copies:
            self.dropped += 1
            self._hold(max(self._last_due_ns, now_ns), packet_id, (Verdict(Do.DROP, packet_id),))
            return ()
        if self._goes_ahead():
            self.reordered += 1
            return self._fate(packet_id, payload, copies) or (Verdict(Do.AHEAD, packet_id),)
        due_ns = now_ns + self._delay_ns
        if self._jitter_ns:
            due_ns = max(due_ns + self._jitter_ns(), now_ns)
        due_ns = max(due_ns, self._last_due_ns)
        if self._ns_per_byte:
            due_ns += int(copies * (length + ETHERNET_HEADER_BYTES) * self._ns_per_byte)
        self._last_due_ns = due_ns
        self._hold(due_ns, packet_id, self._fate(packet_id, payload, copies))
        return ()

    def leave(self, now_ns: int, until_ns: int) -> list[Verdict]:
        """The verdicts on all that is due by `until_ns`, in order; lateness is counted against `now_ns`.

        Each packet of a run counts as late as its oldest, so the recorded lateness is an upper bound.
        """
        held, verdicts, released = self._held, [], None
        while held and held[0].due_ns <= until_ns:
            due_ns, packet_id, count, unsure_ns, fate = held.popleft()
            if unsure_ns:  # the older half came before it was said to, and is late by so much more
                self.lateness_us.add((now_ns - due_ns + unsure_ns) // 1000, count - count // 2)
                count //= 2
            self.lateness_us.add((now_ns - due_ns) // 1000, count)
            if not fate:
                released = packet_id
                continue
            if released is not None:
                verdicts.append(Verdict(Do.RELEASE, released))
                released = None
            verdicts.extend(fate)
        if released is not None:
            verdicts.append(Verdict(Do.RELEASE, released))
        return verdicts

    def take_lateness(self) -> dict[str, int | None]:
        """Lateness since the last call, as JSON."""
        taken, self.lateness_us = self.lateness_us, Histogram()
        return taken.to_json()

    @property
    def held(self) -> int:
        """Entries that wait, each a packet or a run."""
        return len(self._held)

    def _delay(self, now_ns: int, newest_id: int, count: int) -> list[Verdict]:
        due_ns = self._last_due_ns = max(now_ns + self._delay_ns, self._last_due_ns)
        self._held.append(Held(due_ns, newest_id, count, self.unsure_ns))
        self.packets += count
        return []

    def _delay_or_lose(self, now_ns: int, newest_id: int, count: int) -> list[Verdict]:
        """As `packet`, without what it asks of every packet for words that are not in use here."""
        hold, lost, jitter_ns = self._held.append, self._lost, self._jitter_ns or _no_jitter
        base_ns, last_due_ns, together = now_ns + self._delay_ns, self._last_due_ns, 0
        unsure_ns = self.unsure_ns
        for packet_id in range(newest_id - count + 1, newest_id + 1):
            if lost():
                if together:
                    hold(Held(last_due_ns, packet_id - 1, together, unsure_ns))
                    together = 0
                self.dropped += 1
                fate = (Verdict(Do.DROP, packet_id),)
                hold(Held(max(last_due_ns, now_ns), packet_id, 1, unsure_ns, fate))
                continue
            due_ns = base_ns + jitter_ns()
            if due_ns < now_ns:
                due_ns = now_ns
            if due_ns > last_due_ns:
                if together:
                    hold(Held(last_due_ns, packet_id - 1, together, unsure_ns))
                    together = 0
                last_due_ns = due_ns
            together += 1
        if together:
            hold(Held(last_due_ns, newest_id, together, unsure_ns))
        self._last_due_ns = last_due_ns
        self.packets += count
        return []

    def _decide_singly(self, now_ns: int, newest_id: int, count: int) -> list[Verdict]:
        ids = range(newest_id - count + 1, newest_id + 1)
        return [verdict for packet_id in ids for verdict in self.packet(now_ns, packet_id)]

    def _goes_ahead(self) -> bool:
        if not self.impairment.reorder:
            return False
        self._since_ahead += 1
        if self._since_ahead < self.impairment.reorder_gap or not self._ahead():
            return False
        self._since_ahead = 0
        return True

    def _fate(self, packet_id: int, payload: bytes, copies: int) -> tuple[Verdict, ...]:
        fate: tuple[Verdict, ...] = ()
        if self._corrupt():
            self.corrupted += 1
            payload = self._flip_one_bit(payload)
            fate = (Verdict(Do.REPLACE, packet_id, payload),)
        if copies > 1:
            self.duplicated += 1
            fate = (fate or (Verdict(Do.AHEAD, packet_id),)) + (Verdict(Do.COPY, packet_id, payload),)
        return fate

    def _flip_one_bit(self, payload: bytes) -> bytes:
        """One random bit of the packet, its headers included, as netem does: checksums are to catch it."""
        changed = bytearray(payload)
        changed[int(self._random.random() * len(changed))] ^= 1 << int(self._random.random() * 8)
        return bytes(changed)

    def _hold(self, due_ns: int, packet_id: int, fate: tuple[Verdict, ...]) -> None:
        self._held.append(Held(due_ns, packet_id, 1, self.unsure_ns, fate))


def _no_jitter() -> int:
    return 0
