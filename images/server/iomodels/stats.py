"""What a server counts, and the JSON lines it says (images/CONTRACT.md).

Counting must not disturb what is counted, nor race. So every thread adds to a `Cell` of its own with a
plain attribute add, and the reporter sums the cells. A forked child adds to a cell in anonymous memory that
it shares with its parent (mmap(2), MAP_SHARED): that is one process boundary without a single system call.

The reporter is a thread that sleeps (one futex(2) or clock_nanosleep(2) a second) and writes one line: it
takes no part in the model's own waiting.
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

ERROR_KINDS = ("reset", "protocol", "timeout", "refused_limit", "emfile", "aborted", "crashed", "dropped")
USAGE = ("cpu_user_us", "cpu_system_us", "switches_voluntary", "switches_involuntary", "rss_peak_bytes")
MAX_SAID_BYTES = (
    1024  # keeps a line below PIPE_BUF (4096): such a write(2) is never mixed with another (pipe(7))
)


class Counters:
    """The figures of one thread or child; each is a total since it began, `open_peak` a maximum."""

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

    def saw_open(self, count: int) -> None:
        """Note how many connections are open now."""
        if count > self.open_peak:
            self.open_peak = count


FIELDS: tuple[str, ...] = tuple(Counters.__annotations__)


class Cell(Counters):
    """Counters of one thread."""

    __slots__ = FIELDS

    def __init__(self) -> None:
        for field in FIELDS:
            setattr(self, field, 0)


class SharedCell(ctypes.Structure, Counters):
    """Counters of one child, in memory that its parent reads."""

    _fields_ = [(field, ctypes.c_int64) for field in FIELDS]


def emit(event: str, **fields: object) -> None:
    """Write one JSON line to standard output, in one system call so that processes do not mix their lines."""
    line = json.dumps({"event": event, "mono_ms": round(time.monotonic() * 1000, 3), **fields}) + "\n"
    os.write(1, line.encode())


def log(level: str, says: str) -> None:
    """Write a line for people; `level` is ``info``, ``warning`` or ``error``."""
    emit("log", level=level, says=says[:MAX_SAID_BYTES])


class Stats:
    """All counters of this process and its children."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._home: Counters = Cell()
        self._cells: set[Counters] = set()
        self._rows: Rows | None = None
        self._child: Counters = self._home
        self._known: set[str] = set()
        self._peak_before = 0

    def carry_on(self, totals: dict[str, int]) -> None:
        """Go on from the totals of the program that this process was before (execve(2)); see `carried`."""
        self._peak_before = totals["open_peak"]
        for field, total in totals.items():
            if field != "open_peak":
                setattr(self._home, field, total)

    def carried(self) -> dict[str, int]:
        """What `carry_on` takes: all but the kernel's own figures, which outlive execve(2) by themselves."""
        total = self.totals()
        return {field: getattr(total, field) for field in FIELDS if field not in USAGE}

    def cell(self) -> Counters:
        """Return a new cell for the calling thread, kept to the end of the process."""
        cell = Cell()
        with self._lock:
            self._cells.add(cell)
        return cell

    @contextmanager
    def thread_cell(self) -> Iterator[Counters]:
        """Lend a cell to a short-lived thread; its figures stay when it is given back."""
        cell = self.cell()
        try:
            yield cell
        finally:
            with self._lock:
                self._cells.discard(cell)
                _add(self._home, cell)

    def error(self, kind: str, says: str = "") -> None:
        """Count an error of one of `ERROR_KINDS`; the first of its kind also logs what it says."""
        with self._lock:
            field = f"error_{kind}"
            setattr(self._home, field, getattr(self._home, field) + 1)
            new = kind not in self._known
            self._known.add(kind)
        if new and says:
            log("warning", f"{says} (further ones are only counted)")

    def overflow(self, cell: Counters, says: str) -> None:
        """Count in `cell` that signals were lost to a full queue; the first time also logs what it says."""
        cell.overflows += 1
        with self._lock:
            new = "overflow" not in self._known
            self._known.add("overflow")
        if new:
            log("warning", f"{says} (further ones are only counted)")

    def lost(self, error: OSError | None) -> None:
        """Count a connection that the network took away: it timed out, or was reset."""
        self.error("timeout" if isinstance(error, TimeoutError) else "reset")

    def share(self, rows: int) -> Rows:
        """Make room for the counters of up to `rows` live children; once, before the first fork."""
        self._rows = Rows(rows)
        return self._rows

    def fork(self, row: int) -> int:
        """fork(2) with the lock held, so that no child inherits it locked by a thread that is gone.

        In the child (returns 0) all counters start at zero: what came before is the parent's.
        """
        assert self._rows is not None
        with self._lock:
            pid = os.fork()
            if pid == 0:
                self._child = self._rows.cells[row]
                self._rows, self._cells, self._home, self._known = None, set(), Cell(), set()
                self._peak_before = 0
        return pid

    def use_shared_cell(self) -> Counters:
        """Return the child's shared cell as the only one: right for a child with a single thread."""
        self._home = self._child
        return self._child

    def publish(self) -> None:
        """Copy the sums of a child with several threads to its shared cell."""
        totals = self.totals()
        for field in FIELDS:
            setattr(self._child, field, getattr(totals, field))

    def reaped(self, row: int) -> None:
        """Keep the counters of a child that has been waited for, and free its row.

        Its CPU and switches are dropped here: from now on they are in this process's RUSAGE_CHILDREN.
        """
        assert self._rows is not None
        with self._lock:
            _add(self._home, self._rows.cells[row], usage=False)
            self._rows.free(row)

    def totals(self) -> Counters:
        """Return the sum over threads and children, resources included."""
        total = Cell()
        with self._lock:
            _add(total, self._home, usage=False)
            for cell in self._cells:
                _add(total, cell)
            if self._rows is not None:
                for row in self._rows.used:
                    _add(total, self._rows.cells[row])
        total.saw_open(self._peak_before)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            _add_usage(total, who)
        return total


class Rows:
    """Shared cells for children, one row each."""

    def __init__(self, count: int) -> None:
        memory = mmap.mmap(-1, count * ctypes.sizeof(SharedCell))  # MAP_SHARED | MAP_ANONYMOUS
        self.cells = (SharedCell * count).from_buffer(memory)
        self.used: set[int] = set()
        self._free = list(range(count - 1, -1, -1))

    def take(self) -> int | None:
        """Return a row for a new child; None when all are in use."""
        if not self._free:
            return None
        row = self._free.pop()
        self.used.add(row)
        return row

    def free(self, row: int) -> None:
        """Clear a row and take it back."""
        ctypes.memset(ctypes.addressof(self.cells[row]), 0, ctypes.sizeof(SharedCell))
        self.used.discard(row)
        self._free.append(row)


STATS = Stats()


class UsageClock:
    """Lets a single-threaded child put its resources into its cell, at most once a second, as it goes."""

    def __init__(self, cell: Counters) -> None:
        self._cell = cell
        self._due = 0.0

    def tick(self) -> None:
        """Call this after work; costs a clock read, and once a second getrusage(2)."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + 1.0
            for field in USAGE:
                setattr(self._cell, field, 0)
            _add_usage(self._cell, resource.RUSAGE_SELF)

    def forget(self) -> None:
        """Leave no resources behind: after wait(2) they are in the parent's RUSAGE_CHILDREN."""
        for field in USAGE:
            setattr(self._cell, field, 0)


ANEW = signal.SIGUSR1  # stop, and begin anew in the same process
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, ANEW)


def hold_stop_signals() -> None:
    """Block the stop signals in this thread and all that it starts: the `Attendant` takes them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


class Attendant:
    """A thread beside the model: calls `tell` once a second, and `stop` when the process is told to stop.

    It waits for both at once (rt_sigtimedwait(2)). A handler would do the same in the main thread, but too
    late if the signal comes just before that thread goes to sleep in the model's own wait.

    Attributes:
        anew: the last stop asked for was a restart.
    """

    def __init__(self, tell: Callable[[], None], stop: Callable[[], object], period_s: float = 1.0) -> None:
        self._tell = tell
        self._stop = stop
        self._period_s = period_s
        self._over = False
        self.anew = False
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="attendant", daemon=True)

    def __enter__(self) -> Attendant:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._thread.start()  # inherits the mask: whatever signals the model uses are not for this thread
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        assert self._thread.ident is not None
        if self._thread.is_alive():
            signal.pthread_kill(self._thread.ident, signal.SIGTERM)
        self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        while True:
            asked = signal.sigtimedwait(STOP_SIGNALS, self._period_s)
            if self._over:
                return
            # After a SIGCONT later than the period, Python returns a siginfo that nobody has filled in.
            if asked is None or asked.si_signo not in STOP_SIGNALS:
                if not self._told():
                    return
            else:
                self.anew = asked.si_signo == ANEW
                self._stop()

    def _told(self) -> bool:
        """Tell; a failure (nobody reads our lines any more) ends the server and comes out of the block."""
        try:
            self._tell()
        except Exception as fault:
            self._fault = fault
            self._stop()
            return False
        return True


def as_json(total: Counters) -> dict[str, object]:
    """Return counters under the names of the contract."""
    plain = {field: getattr(total, field) for field in FIELDS if not field.startswith("error_")}
    errors = {kind: getattr(total, f"error_{kind}") for kind in ERROR_KINDS}
    return {
        **plain,
        "open": total.accepted - total.closed,
        "errors": {kind: count for kind, count in errors.items() if count},
    }


def _add(total: Counters, cell: Counters, usage: bool = True) -> None:
    for field in FIELDS:
        if usage or field not in USAGE:
            setattr(total, field, getattr(total, field) + getattr(cell, field))


def _add_usage(total: Counters, who: int) -> None:
    usage = resource.getrusage(who)
    total.cpu_user_us += round(usage.ru_utime * 1e6)
    total.cpu_system_us += round(usage.ru_stime * 1e6)
    total.switches_voluntary += usage.ru_nvcsw
    total.switches_involuntary += usage.ru_nivcsw
    if who == resource.RUSAGE_SELF:
        total.rss_peak_bytes += usage.ru_maxrss * 1024  # of the children, only the largest is known: left out
