"""The delay line process: holds the packets of NFQUEUEs and releases each at its due time.

It is a child of the agent, so that the agent's commands do not disturb its timing. It reads JSON commands,
one a line, from its standard input. At end of file it exits, and the kernel drops what its queues hold: a
packet is late, or lost and counted, but never passes undelayed.

Arrival and wake-up: the kernel does not say when a packet was queued, and it wakes us 50 … 300 µs late on a
virtual machine. The process measures its wake-up latency by its own timers, and the time that a poll and a
release take. It sets its timers earlier by latency plus release time. A packet that woke it counts as arrived
latency plus poll time before it was found.

Wake-ups or polling: a sleep and a wake-up cost as much as thirty packets. So under load the process polls, as
NAPI does in the kernel: packets wake nobody and cause no message; once per poll interval it reads the id of
the newest packet. The packets it finds count as arrived in the middle between the last two polls, and the
interval is chosen so that they are due at a poll: early as often as late, by half an interval at most. After
a longer gap between two polls the older half of the packets is late by a quarter of the excess on average,
which is counted as lateness. Packets are read one by one only if their contents are needed.

`select` waits with a resolution of microseconds (epoll_wait: milliseconds). Timer slack is off, and so is the
cyclic garbage collector: there are no reference cycles.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections.abc import Callable, Mapping

from kernel.scheduling import set_short_slice

from . import nfqueue_counters
from .delay_queue import DelayQueue
from .impairment import Impairment

POLLS_TO_SWITCH = 4  # consecutive polls that find packets close together, or find none, switch the mode
EARLY_NS = 20_000  # a packet this close to its due time leaves now: after another wait it would be late
MEDIAN_MAX_NS, MEDIAN_STEP_NS = 250_000, 3_000


class RunningMedian:
    """Running estimate of a median by fixed steps; a mean would follow the few stalls of a busy machine."""

    def __init__(self) -> None:
        self.value_ns = 0

    def add(self, sample_ns: int) -> None:
        """Move the estimate one step towards the sample."""
        step_ns = MEDIAN_STEP_NS if sample_ns > self.value_ns else -MEDIAN_STEP_NS
        self.value_ns = min(max(self.value_ns + step_ns, 0), MEDIAN_MAX_NS)


class DelayLine:
    """All queues of one network namespace, and the commands of the agent."""

    def __init__(self, control: socket.socket, now: Callable[[], int] = time.monotonic_ns) -> None:
        self._now = now
        self._control = control
        self._commands = control.makefile("rb")
        self._queues: dict[int, DelayQueue] = {}
        self._newest_ids = nfqueue_counters.NewestIds()
        self._sockets: list[socket.socket] = [control]
        self._poll_interval_ns = 0  # the shortest of all queues
        self._any_closing = False
        self._wakeup_latency, self._poll_time, self._release_time = (RunningMedian() for _ in range(3))
        self._polling = False  # else packets wake us
        self._switch_votes = 0  # consecutive polls for which the other mode is better
        self._polled_ns = self._found_ns = self._next_poll_ns = 0

    def serve(self) -> None:
        """Work until the agent closes the control socket.

        Raises:
            OSError: The kernel refused a request.
        """
        while True:
            ready, early_ns = self._wait_for_poll() if self._polling else self._wait_for_event()
            woken_ns = self._now()
            polls = self._polling or bool(ready)
            found = polls and self._poll()
            if self._control in ready and not self._answer():
                return
            self._release(early_ns)
            if not polls:
                self._release_time.add(self._now() - woken_ns)
            elif self._should_switch(found):
                self._switch()

    def _wait_for_event(self) -> tuple[list[socket.socket], int]:
        """Wait for a packet, a command or a due time.

        Returns:
            The ready sockets; by how many nanoseconds a release may be early.
        """
        begin_ns, due_ns = self._now(), self._next_due_ns()
        lead_ns = self._wakeup_latency.value_ns + self._release_time.value_ns
        wake_ns = None if due_ns is None else due_ns - lead_ns
        timeout_s = None if wake_ns is None else max(wake_ns - begin_ns, 0) / 1e9
        ready, _, _ = select.select(self._sockets, (), (), timeout_s)
        if ready or wake_ns is None:
            return ready, EARLY_NS
        self._wakeup_latency.add(self._now() - max(wake_ns, begin_ns))
        return [], max(lead_ns, EARLY_NS)

    def _wait_for_poll(self) -> tuple[list[socket.socket], int]:
        """Wait for the time of the next poll or a command, not for packets; return as `_wait_for_event`."""
        begin_ns, interval_ns = self._now(), self._poll_interval_ns
        self._next_poll_ns = max(self._next_poll_ns + interval_ns, begin_ns)
        timeout_ns = self._next_poll_ns - self._wakeup_latency.value_ns - begin_ns
        ready, _, _ = select.select(self._sockets[:1], (), (), max(timeout_ns, 0) / 1e9)
        if not ready and timeout_ns > 0:
            self._wakeup_latency.add(self._now() - begin_ns - timeout_ns)
        return ready, interval_ns // 4

    def _poll(self) -> bool:
        """Schedule the new packets of all queues; return whether there are any."""
        begin_ns = self._now()
        if not self._polling:
            for queue in self._queues.values():
                queue.drain_notifications()
        newest_ids = self._newest_ids.read()
        now_ns = self._now()  # after the read, which may have been preempted
        gap_ns, self._polled_ns = now_ns - self._polled_ns, now_ns
        age_ns, error_ns = gap_ns // 2, 0
        if self._polling:
            # Arrivals spread evenly over an interval are a quarter of it off its middle, on average.
            error_ns = max(gap_ns - self._poll_interval_ns, 0) // 4
        else:
            age_ns = min(age_ns, self._wakeup_latency.value_ns + self._poll_time.value_ns)
            self._poll_time.add(now_ns - begin_ns)
        count = 0
        for number, queue in self._queues.items():
            count += queue.schedule(newest_ids[number], now_ns - age_ns, error_ns)
        return count > 0

    def _release(self, early_ns: int) -> None:
        """Release the packets that are due within `early_ns`; remove closing queues that are empty."""
        now_ns = self._now()
        until_ns = now_ns + early_ns
        for queue in self._queues.values():
            queue.release(now_ns, until_ns)
        if self._any_closing:
            for queue in [q for q in self._queues.values() if q.closing and not q.scheduler.backlog]:
                self._remove(queue)

    def _next_due_ns(self) -> int | None:
        due_ns = [queue.scheduler.next_due_ns for queue in self._queues.values()]
        return min((one for one in due_ns if one is not None), default=None)

    def _should_switch(self, found: bool) -> bool:
        """Count the last poll, which `found` packets or not; return whether the other mode is better now."""
        if self._polling:
            self._switch_votes = 0 if found else self._switch_votes + 1
        elif found:
            close = self._polled_ns - self._found_ns < self._poll_interval_ns
            self._switch_votes, self._found_ns = self._switch_votes + 1 if close else 0, self._polled_ns
        return self._switch_votes == POLLS_TO_SWITCH

    def _switch(self) -> None:
        self._polling, self._switch_votes = not self._polling, 0
        for queue in self._queues.values():
            queue.set_notify(not self._polling)
        self._poll()  # packets that came just before woke nobody

    def _answer(self) -> bool:
        """Execute one command and send its answer; return False at end of file."""
        line = self._commands.readline()
        if not line:
            return False
        try:
            answer = {"ok": True} | self._execute(json.loads(line))
        except (OSError, ValueError) as error:
            answer = {"ok": False, "says": str(error)}
        self._control.sendall(json.dumps(answer).encode() + b"\n")
        return True

    def _execute(self, command: Mapping[str, object]) -> dict[str, object]:
        number = command["queue"]
        if not isinstance(number, int):
            raise ValueError(f"queue: {number!r} is not a number")
        if command["do"] == "set":
            document = command["impairment"]
            if not isinstance(document, Mapping):
                raise ValueError("impairment: not an object")
            self._set(number, Impairment.from_json(document))
            return {"applied_mono_ms": self._now() / 1e6}
        if number not in self._queues:
            raise ValueError(f"queue {number}: not open")
        queue = self._queues[number]
        if command["do"] == "close":
            queue.closing = self._any_closing = True
            return {"held": queue.scheduler.backlog}
        return queue.read_counters()

    def _set(self, number: int, impairment: Impairment) -> None:
        """Change the queue of that number, or open it."""
        if number in self._queues:
            queue = self._queues[number]
            queue.change(impairment, lambda: self._newest_ids.read()[number])
            queue.closing = False
        else:
            self._queues[number] = DelayQueue(number, impairment)
        self._queues[number].set_notify(not self._polling)
        self._queues_changed()

    def _remove(self, queue: DelayQueue) -> None:
        del self._queues[queue.nfqueue.number]
        self._queues_changed()
        queue.close()

    def _queues_changed(self) -> None:
        """Derive again what depends on the set of queues and their settings."""
        queues = self._queues.values()
        self._sockets = [self._control, *(queue.nfqueue.socket for queue in queues)]
        self._any_closing = any(queue.closing for queue in queues)
        self._poll_interval_ns = min((queue.poll_interval_ns for queue in queues), default=0)


def main() -> int:
    """Serve the commands of the socket that is our standard input."""
    gc.disable()
    set_short_slice()
    with socket.socket(fileno=sys.stdin.fileno()) as control:
        DelayLine(control).serve()
    return 0
