"""The delay line as a process: holds the packets of NFQUEUEs and releases each at its time.

It is a child of the agent, so that the agent's commands never disturb its timing, and takes one JSON
command a line on its standard input. When that ends, it ends, and the kernel drops what its queues hold:
packets are late, or lost and counted, but never pass undelayed.

Time: the kernel does not say when a packet was queued, and wakes us late, 50 … 300 µs on a virtual machine.
How late, the line learns from its own timers, and how long it then takes to look and to release: it wakes up
so much earlier, and takes as much off the time at which a packet woke it.

To fall asleep and wake up costs more than thirty packets. So under load packets do not wake the line, nor
are they announced to it at all: it looks once a grain how many there are, takes them as come in the middle
of the time since it last looked, and by the choice of the grain they are due at one of the next looks: early
as often as late, by half a grain at most. When it could not look for longer, those of the first half of that
time are late by a quarter of it on average, which is counted. Only packets whose contents count are read one
by one.

`select` waits in microseconds (epoll in milliseconds), timer slack is turned off, and so is the cyclic
garbage collector: there are no cycles.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections.abc import Callable, Mapping

from kernel.scheduling import be_prompt

from . import netlink
from .impairment import Impairment
from .line import Do, Line, Verdict

GRAIN_MIN_NS, GRAIN_MAX_NS = 100_000, 800_000
GRAINS_PER_DELAY = 25  # the shorter a delay, the finer its grain
LOOKS = 4  # so many in close succession that find packets, or that find none, change the way of looking
EARLY_NS = 20_000  # so close to its due time a packet may go: waiting once more would make it late
LATE_MAX_NS, LATE_STEP_NS = 250_000, 3_000
READS_AT_ONCE = 16
COPY_MARK = 0x1AB  # on the copies that we send: the rules let them pass
_WHOLE_PACKET_BYTES = 0xFFFF
_BUILT_S = 0.001  # by then a message that the kernel built by the settings of before has got its id


class Lane:
    """A queue of the kernel and the line that decides about its packets."""

    def __init__(self, number: int, impairment: Impairment) -> None:
        self.queue = netlink.Queue(number)
        self.line = Line(impairment)
        self.duplicates_failed = 0
        self.closing = False
        self._raw: socket.socket | None = None
        self._taken_id = 0
        self._configure(impairment)

    def change(self, impairment: Impairment, newest_id: Callable[[], int]) -> None:
        """Impair by these settings what comes from now on; what has come is decided on by the old ones.

        While both kinds are about, the kernel gives of each packet what either needs.
        """
        self.queue.announce(True)
        self._configure(self.line.impairment, impairment)
        time.sleep(_BUILT_S)
        newest, now_ns = newest_id(), time.monotonic_ns()
        while self._behind(newest) and self.arrive(newest, now_ns):
            pass
        self.line.change(impairment)
        self._configure(impairment)

    def announce(self, wanted: bool) -> None:
        """Whether packets are to wake us. Those whose contents count are always announced."""
        self.queue.announce(wanted or self.line.needs_contents)

    def hear(self) -> None:
        """Take note of the announcements, before the newest id is read: one more may come in between."""
        if not self.line.needs_contents:
            while len(self.queue.read()) == netlink.MESSAGES_PER_READ:
                pass

    def arrive(self, newest_id: int, arrived_ns: int, unsure_ns: int = 0) -> int:
        """Take what the kernel has queued, as come at that time, give or take: number of packets."""
        self.line.unsure_ns = unsure_ns
        if self.line.needs_contents:
            return self._read(arrived_ns)
        if count := self._behind(newest_id):
            self._taken_id += count
            if at_once := self.line.run(arrived_ns, self._taken_id, count):
                self._tell(at_once)
        return count

    def _read(self, arrived_ns: int) -> int:
        """Decide on the packets that the kernel tells us about, by their contents."""
        taken = 0
        for _ in range(READS_AT_ONCE):
            if ids := self.queue.read():
                taken += len(ids)
                self._decide(arrived_ns, ids)
            if len(ids) < netlink.MESSAGES_PER_READ:
                break
            arrived_ns = time.monotonic_ns()
        return taken

    @property
    def grain_ns(self) -> int:
        """How often to look under load: a whole number of grains and a half make the delay.

        What came in the middle between two looks is then due at a look.
        """
        delay_ns = int(self.line.impairment.delay_ms * 1e6)
        grains = max(GRAINS_PER_DELAY, delay_ns // GRAIN_MAX_NS)
        return max(2 * delay_ns // (2 * grains + 1), GRAIN_MIN_NS)

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
            "bytes": line.bytes if line.needs_lengths else None,
            "dropped_asked": line.dropped,
            "corrupted": line.corrupted,
            "duplicated": line.duplicated,
            "duplicates_failed": self.duplicates_failed,
            "reordered": line.reordered,
            "verdicts_refused": self.queue.verdicts_refused,
            "lateness_us": lateness,
        }

    def _behind(self, newest_id: int) -> int:
        """Packets up to that one that are not decided on. Our ids go on where the kernel's start from 0."""
        count = (newest_id - self._taken_id) & netlink.ID_MASK
        return count if count <= netlink.ID_MASK // 2 else 0  # else it is one of the past

    def _configure(self, *wanted: Impairment) -> None:
        """Have the kernel give what all these need."""
        if any(one.duplicate for one in wanted) and self._raw is None:
            self._raw = _raw_socket()
        copy = 0
        if any(one.needs_payload for one in wanted):
            copy = _WHOLE_PACKET_BYTES
        elif any(one.needs_lengths for one in wanted):
            copy = netlink.IPV4_HEADER_BYTES
        self.queue.configure(copy, all(one.constant for one in wanted), wanted[-1].limit_packets)

    def _decide(self, now_ns: int, ids: tuple[int, ...]) -> None:
        line, queue = self.line, self.queue
        at_once: list[Verdict] = []
        for index, packet_id in enumerate(ids):
            ahead = self._behind(packet_id)
            if not ahead:
                continue  # decided on before its contents began to count
            self._taken_id += ahead
            payload = bytes(queue.payload(index)) if line.needs_payload else b""
            at_once += line.packet(now_ns, self._taken_id, queue.packet_bytes(index), payload)
        if at_once:
            self._tell(at_once)

    def _tell(self, verdicts: list[Verdict]) -> None:
        number, messages = self.queue.number, b""
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
                if messages:
                    self.queue.verdict(messages)
                    messages = b""
                self._copy(payload)
        if messages:
            self.queue.verdict(messages)

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


class RunningMedian:
    """Of how late something was; a mean would be made by the few stalls of a busy machine."""

    def __init__(self) -> None:
        self.value_ns = 0

    def learn(self, late_ns: int) -> None:
        """Go a step towards the value."""
        step_ns = LATE_STEP_NS if late_ns > self.value_ns else -LATE_STEP_NS
        self.value_ns = min(max(self.value_ns + step_ns, 0), LATE_MAX_NS)


class DelayLine:
    """All lanes of one network namespace, and the commands about them."""

    def __init__(self, control: socket.socket, now: Callable[[], int] = time.monotonic_ns) -> None:
        self._now = now
        self._control = control
        self._commands = control.makefile("rb")
        self._lanes: dict[int, Lane] = {}
        self._newest = netlink.Sequences()
        self._listened: list[socket.socket] = [control]
        self._finest_grain_ns = 0
        self._closing = False  # whether any lane is
        self._woken_late, self._looking, self._release = RunningMedian(), RunningMedian(), RunningMedian()
        self._dense = False  # whether we look once a grain instead of being woken by packets
        self._looks = 0  # that would have been better off the other way
        self._looked_ns = self._found_ns = self._next_look_ns = 0

    def serve(self) -> None:
        """Work until the agent hangs up. Raises OSError when the kernel refuses something mid-way."""
        while True:
            ready, early_ns = self._sleep() if self._dense else self._sleep_until_woken()
            woken_ns = self._now()
            looking = self._dense or bool(ready)
            found = looking and self._look()
            if self._control in ready and not self._answer():
                return
            self._leave(early_ns)
            if not looking:
                self._release.learn(self._now() - woken_ns)
            elif self._ought_to_change(found):
                self._change()

    def _sleep_until_woken(self) -> tuple[list[socket.socket], int]:
        """Wait for a packet, a command or a packet's time: who is ready, and how early releases may be."""
        asleep_ns, due_ns = self._now(), self._next_due_ns()
        lead_ns = self._woken_late.value_ns + self._release.value_ns
        wake_ns = None if due_ns is None else due_ns - lead_ns
        patience_s = None if wake_ns is None else max(wake_ns - asleep_ns, 0) / 1e9
        ready, _, _ = select.select(self._listened, (), (), patience_s)
        if ready or wake_ns is None:
            return ready, EARLY_NS
        self._woken_late.learn(self._now() - max(wake_ns, asleep_ns))
        return [], max(lead_ns, EARLY_NS)

    def _sleep(self) -> tuple[list[socket.socket], int]:
        """Wait for the next grain or a command, whatever packets come."""
        asleep_ns, grain_ns = self._now(), self._finest_grain_ns
        self._next_look_ns = max(self._next_look_ns + grain_ns, asleep_ns)
        spare_ns = self._next_look_ns - self._woken_late.value_ns - asleep_ns
        ready, _, _ = select.select(self._listened[:1], (), (), max(spare_ns, 0) / 1e9)
        if not ready and spare_ns > 0:
            self._woken_late.learn(self._now() - asleep_ns - spare_ns)
        return ready, grain_ns // 4

    def _look(self) -> bool:
        """Take what all queues hold, if anything."""
        begun_ns = self._now()
        if not self._dense:
            for lane in self._lanes.values():
                lane.hear()
        newest = self._newest.read()
        now_ns = self._now()  # after that, should we be kept waiting in between
        since_ns, self._looked_ns = now_ns - self._looked_ns, now_ns
        ago_ns, unsure_ns = since_ns // 2, 0
        if (
            self._dense
        ):  # what is spread evenly over an interval is a quarter of it off its middle, on average
            unsure_ns = max(since_ns - self._finest_grain_ns, 0) // 4
        else:
            ago_ns = min(ago_ns, self._woken_late.value_ns + self._looking.value_ns)
            self._looking.learn(now_ns - begun_ns)
        taken = 0
        for number, lane in self._lanes.items():
            taken += lane.arrive(newest[number], now_ns - ago_ns, unsure_ns)
        return taken > 0

    def _leave(self, early_ns: int) -> None:
        """Release what is due by now, or so soon."""
        now_ns = self._now()
        until_ns = now_ns + early_ns
        for lane in self._lanes.values():
            lane.leave(now_ns, until_ns)
        if self._closing:
            for lane in [lane for lane in self._lanes.values() if lane.closing and not lane.line.held]:
                self._remove(lane)

    def _next_due_ns(self) -> int | None:
        due = [lane.line.next_due_ns for lane in self._lanes.values() if lane.line.next_due_ns is not None]
        return min(due, default=None)

    def _ought_to_change(self, found: bool) -> bool:
        """Whether the last looks, the newest of which found packets or not, speak for the other way."""
        if self._dense:
            self._looks = 0 if found else self._looks + 1
        elif found:
            close = self._looked_ns - self._found_ns < self._finest_grain_ns
            self._looks, self._found_ns = self._looks + 1 if close else 0, self._looked_ns
        return self._looks == LOOKS

    def _change(self) -> None:
        self._dense, self._looks = not self._dense, 0
        for lane in self._lanes.values():
            lane.announce(not self._dense)
        self._look()  # nobody was told of what came just before

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
            return {"applied_mono_ms": self._now() / 1e6}
        if number not in self._lanes:
            raise ValueError(f"queue {number}: not open")
        lane = self._lanes[number]
        if command["do"] == "close":
            lane.closing = self._closing = True
            return {"held": lane.line.held}
        return lane.to_json()

    def _set(self, number: int, impairment: Impairment) -> None:
        if number in self._lanes:
            lane = self._lanes[number]
            lane.change(impairment, lambda: self._newest.read()[number])
            lane.closing = False
        else:
            self._lanes[number] = Lane(number, impairment)
        self._lanes[number].announce(not self._dense)
        self._count()

    def _remove(self, lane: Lane) -> None:
        del self._lanes[lane.queue.number]
        self._count()
        lane.close()

    def _count(self) -> None:
        self._listened = [self._control, *(lane.queue.socket for lane in self._lanes.values())]
        self._closing = any(lane.closing for lane in self._lanes.values())
        self._finest_grain_ns = min((lane.grain_ns for lane in self._lanes.values()), default=0)


def main() -> int:
    """Serve the commands of the socket that is our standard input."""
    gc.disable()
    be_prompt()
    with socket.socket(fileno=sys.stdin.fileno()) as control:
        DelayLine(control).serve()
    return 0
