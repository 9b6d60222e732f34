"""The delay line as a process: holds the packets of NFQUEUEs and releases each at its time.

It is a child of the agent, so that the agent's commands never disturb its timing, and takes one JSON
command a line on its standard input. When that ends, it ends, and the kernel drops what its queues hold:
packets are late, or lost and counted, but never pass undelayed.

Time: the kernel does not say when a packet was queued, and wakes us late, 50 … 300 µs on a virtual machine.
How late, the line learns from its own timers; it wakes up so much earlier, and takes so much off the time
at which it reads a packet that woke it. A wake-up costs more than ten packets, so under load the line does
not let packets wake it: it looks once a grain, takes what it finds as come in the middle of the time since
it last looked, and releases what is due within half a grain: early as often as late. `select` waits in
microseconds (epoll in milliseconds), timer slack is turned off, and so is the cyclic garbage collector:
there are no cycles.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections.abc import Collection, Mapping

from kernel.scheduling import be_prompt

from . import netlink
from .impairment import Impairment
from .line import Do, Line, Verdict

GRAIN_MIN_NS, GRAIN_MAX_NS = 100_000, 500_000
GRAINS_PER_DELAY = 40  # the shorter a delay, the finer its grain
EARLY_NS = 20_000  # so close to its due time a packet may go: waiting once more would make it late
LEAD_MAX_NS, LEAD_STEP_NS = 250_000, 3_000
RELEASE_NS = 20_000  # what a verdict takes from our waking up until its packet is on its way
READS_AT_ONCE = 16
COPY_MARK = 0x1AB  # on the copies that we send: the rules let them pass
_WHOLE_PACKET_BYTES = 0xFFFF


class Lane:
    """A queue of the kernel and the line that decides about its packets."""

    def __init__(self, number: int, impairment: Impairment) -> None:
        self.queue = netlink.Queue(number)
        self.line = Line(impairment)
        self.duplicates_failed = 0
        self.closing = False
        self._raw: socket.socket | None = None
        self._looked_ns = time.monotonic_ns()
        self._configure()

    def change(self, impairment: Impairment) -> None:
        """Impair by these settings from now on."""
        self.line.change(impairment)
        self._configure()

    def arrive(self, woken_late_ns: int) -> int:
        """Take what the kernel has queued, number of packets. One that woke us came `woken_late_ns` ago."""
        taken = 0
        for _ in range(READS_AT_ONCE):
            ids = self.queue.read()
            now_ns = time.monotonic_ns()
            since_ns = now_ns - self._looked_ns
            arrived_ns = now_ns - (since_ns // 2 if since_ns < 2 * woken_late_ns else woken_late_ns)
            if not ids:
                break
            taken += len(ids)
            if self.line.impairment.constant:
                self.line.run(arrived_ns, ids[-1], len(ids))
            else:
                self._decide(arrived_ns, ids)
            if len(ids) < netlink.MESSAGES_PER_READ:
                break
        self._looked_ns = now_ns
        return taken

    @property
    def grain_ns(self) -> int:
        """How often to look under load."""
        by_delay = int(self.line.impairment.delay_ms * 1e6) // GRAINS_PER_DELAY
        return min(max(by_delay, GRAIN_MIN_NS), GRAIN_MAX_NS)

    def leave(self, now_ns: int, until_ns: int) -> None:
        """Release what is due by `until_ns`."""
        due_ns = self.line.next_due_ns
        if due_ns is not None and due_ns <= until_ns:
            self._tell(self.line.leave(now_ns, until_ns))

    def close(self) -> None:
        """Give the queue back."""
        self.queue.close()
        if self._raw:
            self._raw.close()

    def to_json(self) -> dict[str, object]:
        """Counters since the start, and lateness since the last call."""
        line, lateness = self.line, self.line.take_lateness()
        return {
            "packets": line.packets,
            "bytes": line.bytes if line.needs_bytes else None,
            "dropped_asked": line.dropped,
            "corrupted": line.corrupted,
            "duplicated": line.duplicated,
            "duplicates_failed": self.duplicates_failed,
            "reordered": line.reordered,
            "verdicts_refused": self.queue.verdicts_refused,
            "lateness_us": lateness,
        }

    def _configure(self) -> None:
        line = self.line
        if line.impairment.duplicate and self._raw is None:
            self._raw = _raw_socket()
        copy = _WHOLE_PACKET_BYTES if line.needs_payload else netlink.IPV4_HEADER_BYTES * line.needs_bytes
        self.queue.configure(copy, line.impairment.constant, line.impairment.limit_packets)

    def _decide(self, now_ns: int, ids: tuple[int, ...]) -> None:
        line, queue = self.line, self.queue
        at_once: list[Verdict] = []
        if line.needs_payload:
            for index, packet_id in enumerate(ids):
                at_once += line.packet(
                    now_ns, packet_id, queue.packet_bytes(index), bytes(queue.payload(index))
                )
        elif line.needs_bytes:
            for index, packet_id in enumerate(ids):
                at_once += line.packet(now_ns, packet_id, queue.packet_bytes(index))
        else:
            for packet_id in ids:
                at_once += line.packet(now_ns, packet_id)
        if at_once:
            self._tell(at_once)

    def _tell(self, verdicts: list[Verdict]) -> None:
        number, messages = self.queue.number, bytearray()
        for do, packet_id, payload in verdicts:
            if do is Do.RELEASE:
                messages += netlink.accept_up_to(number, packet_id)
            elif do is Do.DROP:
                messages += netlink.drop(number, packet_id)
            elif do is Do.AHEAD:
                messages += netlink.accept(number, packet_id)
            elif do is Do.REPLACE:
                messages += netlink.accept(number, packet_id, payload)
            else:
                self._flush(messages)
                self._copy(payload)
        self._flush(messages)

    def _flush(self, messages: bytearray) -> None:
        if messages:
            self.queue.verdict(bytes(messages))
            messages.clear()

    def _copy(self, payload: bytes) -> None:
        """Send a second copy: with its own headers, and marked, so that our rules let it pass."""
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


class DelayLine:
    """All lanes of one network namespace, and the commands about them."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._commands = control.makefile("rb")
        self._lanes: dict[int, Lane] = {}
        self._sources: dict[socket.socket, Lane] = {}
        self._lead_ns = EARLY_NS

    def serve(self) -> None:
        """Work until the agent hangs up. Raises OSError when the kernel refuses something mid-way."""
        looked_ns = 0
        grain_ns = 0  # 0: packets wake us
        while True:
            ready, early_ns = self._sleep(looked_ns + grain_ns) if grain_ns else self._sleep_until_woken()
            since_ns, looked_ns = time.monotonic_ns() - looked_ns, time.monotonic_ns()
            taken = 0
            for source in ready:
                if source is not self._control:
                    taken += self._sources[source].arrive(self._lead_ns)
                elif not self._answer():
                    return
            now_ns = time.monotonic_ns()
            for lane in tuple(self._lanes.values()):
                lane.leave(now_ns, now_ns + early_ns)
                if lane.closing and not lane.line.held:
                    self._remove(lane)
            finest_ns = min((lane.grain_ns for lane in self._lanes.values()), default=0)
            grain_ns = finest_ns if taken and since_ns < 2 * finest_ns else 0

    def _sleep_until_woken(self) -> tuple[Collection[socket.socket], int]:
        """Wait for a packet, a command or a packet's time: who is ready, and how early releases may be."""
        asleep_ns, wake_ns = time.monotonic_ns(), self._wake_ns()
        patience_s = None if wake_ns is None else max(wake_ns - asleep_ns, 0) / 1e9
        ready, _, _ = select.select([self._control, *self._sources], (), (), patience_s)
        if ready or wake_ns is None:
            return ready, EARLY_NS
        self._learn(time.monotonic_ns() + RELEASE_NS - max(wake_ns, asleep_ns))
        return (), max(self._lead_ns, EARLY_NS)

    def _sleep(self, until_ns: int) -> tuple[Collection[socket.socket], int]:
        """Wait for that time or a command, whatever packets come: all queues are looked at then."""
        asleep_ns = time.monotonic_ns()
        spare_ns = until_ns - self._lead_ns - asleep_ns
        ready, _, _ = select.select([self._control], (), (), max(spare_ns, 0) / 1e9)
        if not ready and spare_ns > 0:
            self._learn(time.monotonic_ns() + RELEASE_NS - asleep_ns - spare_ns)
        return [*ready, *self._sources], GRAIN_MIN_NS // 2

    def _wake_ns(self) -> int | None:
        """When to wake up for the next release: its due time less what waking up takes."""
        due = [lane.line.next_due_ns for lane in self._lanes.values() if lane.line.next_due_ns is not None]
        return min(due) - self._lead_ns if due else None

    def _learn(self, late_ns: int) -> None:
        """A running median of how late a timer wakes us: a busy machine makes the mean of a few stalls."""
        step_ns = LEAD_STEP_NS if late_ns > self._lead_ns else -LEAD_STEP_NS
        self._lead_ns = min(max(self._lead_ns + step_ns, 0), LEAD_MAX_NS)

    def _answer(self) -> bool:
        line = self._commands.readline()
        if not line:
            return False
        try:
            answer = {"ok": True} | self._do(json.loads(line))
        except (OSError, ValueError) as error:
            answer = {"ok": False, "says": str(error)}
        self._control.sendall(json.dumps(answer).encode() + b"\n")
        return True

    def _do(self, command: Mapping[str, object]) -> dict[str, object]:
        number = command["queue"]
        if not isinstance(number, int):
            raise ValueError(f"queue: {number!r} is not a number")
        if command["do"] == "set":
            document = command["impairment"]
            if not isinstance(document, Mapping):
                raise ValueError("impairment: not an object")
            self._set(number, Impairment.from_json(document))
            return {"applied_mono_ms": time.monotonic_ns() / 1e6}
        if number not in self._lanes:
            raise ValueError(f"queue {number}: not open")
        lane = self._lanes[number]
        if command["do"] == "close":
            lane.closing = True
            return {"held": lane.line.held}
        return lane.to_json()

    def _set(self, number: int, impairment: Impairment) -> None:
        if number in self._lanes:
            self._lanes[number].change(impairment)
            self._lanes[number].closing = False
            return
        lane = Lane(number, impairment)
        self._lanes[number] = self._sources[lane.queue.socket] = lane

    def _remove(self, lane: Lane) -> None:
        del self._lanes[lane.queue.number], self._sources[lane.queue.socket]
        lane.close()


def main() -> int:
    """Serve the commands of the socket that is our standard input."""
    gc.disable()
    be_prompt()
    with socket.socket(fileno=sys.stdin.fileno()) as control:
        DelayLine(control).serve()
    return 0
