"""What a server counts, and the JSON lines that it writes (images/CONTRACT.md).

Counting must cost little and must not race. So each thread adds to its own `ThreadCounters` by plain
attribute assignment, and the reporter sums them. A forked child adds to counters in anonymous memory that it
shares with its parent (mmap(2), MAP_SHARED): they cross the process boundary without a system call.

The reporter is a thread that sleeps (one rt_sigtimedwait(2) a second) and writes one line; it writes one at
once when it is asked by a signal. It has no part in the model's own waiting.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from iomodels.native.process import name_thread

NAME = "lab-reporter"  # of the thread: whoever counts threads can leave it out
ERROR_KINDS = ("reset", "protocol", "timeout", "refused_limit", "emfile", "aborted", "crashed", "dropped")
USAGE = ("cpu_user_us", "cpu_system_us", "switches_voluntary", "switches_involuntary", "rss_peak_bytes")
MAX_MESSAGE_CHARS = 1024  # a line of ASCII stays below PIPE_BUF (4096): so write(2) is atomic (pipe(7))


class Counters:
    """The counts of one thread or child: totals since its start; `open_peak` is a maximum."""

    accepted: int
    closed: int
    open_peak: int
    requests: int
    bytes_in: int
    bytes_out: int
    wakeups: int
    ready: int
    eagain: int
    signals: int
    completions: int
    overflows: int
    error_reset: int
    error_protocol: int
    error_timeout: int
    error_refused_limit: int
    error_emfile: int
    error_aborted: int
    error_crashed: int
    error_dropped: int
    cpu_user_us: int
    cpu_system_us: int
    switches_voluntary: int
    switches_involuntary: int
    rss_peak_bytes: int

    def update_open_peak(self, count: int) -> None:
        """Raise the peak if `count` connections, those open now, are more."""
        if count > self.open_peak:
            self.open_peak = count


FIELDS: tuple[str, ...] = tuple(Counters.__annotations__)


class ThreadCounters(Counters):
    """Counters of one thread."""

    __slots__ = FIELDS

    def __init__(self) -> None:
        for field in FIELDS:
            setattr(self, field, 0)


class SharedCounters(ctypes.Structure, Counters):
    """Counters of one child, in memory that its parent reads; `published` counts its `publish`."""

    published: int
    _fields_ = [(field, ctypes.c_int64) for field in (*FIELDS, "published")]


def emit(event: str, **fields: object) -> None:
    """Write one JSON line to standard output, in one system call: processes must not mix their lines."""
    line = json.dumps({"event": event, "mono_ms": round(time.monotonic() * 1000, 3), **fields}) + "\n"
    os.write(1, line.encode())


def log(level: str, message: str) -> None:
    """Write a log event; `level` is ``info``, ``warning`` or ``error``."""
    emit("log", level=level, says=message[:MAX_MESSAGE_CHARS])


class Stats:
    """All counters of this process and its children."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._base: Counters = ThreadCounters()
        self._threads: set[Counters] = set()
        self._slots: Slots | None = None
        self._shared: Counters = self._base
        self._logged: set[str] = set()
        self._earlier_peak = 0

    def restore(self, totals: dict[str, int]) -> None:
        """Start from the totals of `snapshot`, taken by this process before execve(2)."""
        self._earlier_peak = totals["open_peak"]
        for field, total in totals.items():
            if field != "open_peak":
                setattr(self._base, field, total)

    def snapshot(self) -> dict[str, int]:
        """Return the totals for `restore`; those of getrusage(2) are left out, as they survive execve(2)."""
        total = self.totals()
        return {field: getattr(total, field) for field in FIELDS if field not in USAGE}

    def new_counters(self) -> Counters:
        """Return new counters for the calling thread, which count until the process ends."""
        counters = ThreadCounters()
        with self._lock:
            self._threads.add(counters)
        return counters

    @contextmanager
    def thread_counters(self) -> Iterator[Counters]:
        """Yield counters for a short-lived thread; at the end they are added to the base."""
        counters = self.new_counters()
        try:
            yield counters
        finally:
            with self._lock:
                self._threads.discard(counters)
                _add(self._base, counters)

    def error(self, kind: str, message: str = "") -> None:
        """Count an error of one of `ERROR_KINDS`; the first of its kind is logged with the message."""
        with self._lock:
            field = f"error_{kind}"
            setattr(self._base, field, getattr(self._base, field) + 1)
            new = kind not in self._logged
            self._logged.add(kind)
        if new and message:
            log("warning", f"{message} (further ones are only counted)")

    def signal_overflow(self, counters: Counters, message: str) -> None:
        """Count a signal queue that was full; the first time is logged with the message."""
        counters.overflows += 1
        with self._lock:
            new = "overflow" not in self._logged
            self._logged.add("overflow")
        if new:
            log("warning", f"{message} (further ones are only counted)")

    def connection_lost(self, error: OSError | None) -> None:
        """Count a connection that timed out or was reset."""
        self.error("timeout" if isinstance(error, TimeoutError) else "reset")

    def make_slots(self, count: int) -> None:
        """Make shared counters for up to `count` live children. Call it once, before the first fork."""
        self._slots = Slots(count)

    def published(self, slot: int) -> int:
        """Return how often the child of a slot has published its counters."""
        assert self._slots is not None
        return self._slots.counters[slot].published

    def take_slot(self) -> int | None:
        """Return a slot for a new child, or None when all are in use; the reporter sums them meanwhile."""
        assert self._slots is not None
        with self._lock:
            return self._slots.take()

    def free_slot(self, slot: int) -> None:
        """Free the slot of a child that could not be started."""
        assert self._slots is not None
        with self._lock:
            self._slots.free(slot)

    def fork(self, slot: int) -> int:
        """Fork with our lock held: a child must not inherit a lock that a lost thread holds.

        The child (returns 0) starts all counters at zero; earlier counts belong to the parent.
        """
        assert self._slots is not None
        with self._lock:
            pid = os.fork()
            if pid == 0:
                self._shared = self._slots.counters[slot]
                self._slots, self._threads, self._base, self._logged = None, set(), ThreadCounters(), set()
                self._earlier_peak = 0
        return pid

    def use_shared_counters(self) -> Counters:
        """Return the child's shared counters and count everything there: for a child with a single thread."""
        self._base = self._shared
        return self._shared

    def publish(self) -> None:
        """Copy the totals of a child with several threads to its shared counters."""
        totals = self.totals()
        for field in FIELDS:
            setattr(self._shared, field, getattr(totals, field))
        if isinstance(self._shared, SharedCounters):
            self._shared.published += 1

    def child_ended(self, slot: int) -> None:
        """Add the counters of a child that has been waited for to our own, and free its slot.

        Its CPU time and context switches are left out: wait(2) has added them to our RUSAGE_CHILDREN.
        """
        assert self._slots is not None
        with self._lock:
            _add(self._base, self._slots.counters[slot], usage=False)
            self._slots.free(slot)

    def totals(self) -> Counters:
        """Return the sum over threads and children, with the resource usage."""
        total = ThreadCounters()
        with self._lock:
            _add(total, self._base, usage=False)
            for counters in self._threads:
                _add(total, counters)
            if self._slots is not None:
                for slot in self._slots.used:
                    _add(total, self._slots.counters[slot])
        total.update_open_peak(self._earlier_peak)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            _add_usage(total, who)
        return total


class Slots:
    """Counters in memory shared with children, one slot for each child. `Stats` locks around each call."""

    def __init__(self, count: int) -> None:
        memory = mmap.mmap(-1, count * ctypes.sizeof(SharedCounters))  # MAP_SHARED | MAP_ANONYMOUS
        self.counters = (SharedCounters * count).from_buffer(memory)
        self.used: set[int] = set()
        self._free = list(range(count - 1, -1, -1))

    def take(self) -> int | None:
        """Return a slot for a new child, or None when all are in use."""
        if not self._free:
            return None
        slot = self._free.pop()
        self.used.add(slot)
        return slot

    def free(self, slot: int) -> None:
        """Clear a slot, so that it can be taken again."""
        ctypes.memset(ctypes.addressof(self.counters[slot]), 0, ctypes.sizeof(SharedCounters))
        self.used.discard(slot)
        self._free.append(slot)


STATS = Stats()


def emit_stats(event: str = "stats", asked: bool = False) -> None:
    """Write the totals, under the time at which they were read; `asked`: the line answers a request."""
    begun_s = time.monotonic()
    total = STATS.totals()
    read_ms = round((begun_s + time.monotonic()) / 2 * 1000, 3)  # many threads take a while to add up
    emit(event, mono_ms=read_ms, **as_json(total), **({"asked": True} if asked else {}))


class UsageSampler:
    """Copies the resource usage of a single-threaded child to its counters, at most once a second."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._due = 0.0

    def sample(self) -> None:
        """Update the usage; costs a clock read, and once a second getrusage(2)."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + 1.0
            usage = ThreadCounters()
            _add_usage(usage, resource.RUSAGE_SELF)
            for field in USAGE:  # never 0 in between: the parent may read at any time
                setattr(self._counters, field, getattr(usage, field))

    def clear(self) -> None:
        """Clear the usage before the child exits: wait(2) adds it to the parent's RUSAGE_CHILDREN."""
        for field in USAGE:
            setattr(self._counters, field, 0)


RESTART_SIGNAL = signal.SIGUSR1  # stop, then start again in the same process
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, RESTART_SIGNAL)
STATS_SIGNAL = signal.SIGUSR2  # write the statistics now
REPORTERS_SIGNALS = (*STOP_SIGNALS, STATS_SIGNAL)


def block_reporters_signals() -> None:
    """Block these signals in this thread and in those that it starts: the `Reporter` waits for them.

    So a request for statistics wakes the reporter only, and interrupts no call of the model.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, REPORTERS_SIGNALS)


class Reporter:
    """A thread beside the model: calls `report` once a second, and `stop` when a stop signal arrives.

    At `STATS_SIGNAL` it calls `report` at once, with True: it was asked.

    It waits for both in one call (rt_sigtimedwait(2)). A signal handler in the main thread could be late:
    Python runs it between two bytecodes, so not if the signal arrives just before the model's own wait.

    Attributes:
        restart_requested: the last stop signal was `RESTART_SIGNAL`.
    """

    def __init__(
        self, report: Callable[[bool], None], stop: Callable[[], object], period_s: float = 1.0
    ) -> None:
        self._report = report
        self._stop = stop
        self._period_s = period_s
        self._ended = False
        self.restart_requested = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def __enter__(self) -> Reporter:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._thread.start()  # inherits the mask: the model's signals must not go to this thread
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        assert self._thread.ident is not None
        if self._thread.is_alive():
            signal.pthread_kill(self._thread.ident, signal.SIGTERM)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        name_thread(NAME)
        while True:
            received = signal.sigtimedwait(REPORTERS_SIGNALS, self._period_s)
            if self._ended:
                return
            # When a SIGCONT arrives after the period, Python returns a siginfo that is not filled in.
            if received is None or received.si_signo not in STOP_SIGNALS:
                if not self._reported(received is not None and received.si_signo == STATS_SIGNAL):
                    return
            else:
                self.restart_requested = received.si_signo == RESTART_SIGNAL
                self._stop()

    def _reported(self, asked: bool) -> bool:
        """Report; an error (standard output is closed) stops the server and is raised again by `__exit__`."""
        try:
            self._report(asked)
        except Exception as error:
            self._error = error
            self._stop()
            return False
        return True


def as_json(total: Counters) -> dict[str, object]:
    """Return the counters under the names of the contract."""
    plain = {field: getattr(total, field) for field in FIELDS if not field.startswith("error_")}
    errors = {kind: getattr(total, f"error_{kind}") for kind in ERROR_KINDS}
    return {
        **plain,
        "open": total.accepted - total.closed,
        "errors": {kind: count for kind, count in errors.items() if count},
    }


def _add(total: Counters, counters: Counters, usage: bool = True) -> None:
    for field in FIELDS:
        if usage or field not in USAGE:
            setattr(total, field, getattr(total, field) + getattr(counters, field))


def _add_usage(total: Counters, who: int) -> None:
    usage = resource.getrusage(who)
    total.cpu_user_us += round(usage.ru_utime * 1e6)
    total.cpu_system_us += round(usage.ru_stime * 1e6)
    total.switches_voluntary += usage.ru_nvcsw
    total.switches_involuntary += usage.ru_nivcsw
    if who == resource.RUSAGE_SELF:
        total.rss_peak_bytes += usage.ru_maxrss * 1024  # RUSAGE_CHILDREN has the largest child's only
