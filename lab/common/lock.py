"""One process at a time, by flock(2): the kernel drops the lock when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.common.errors import HostCannot
from lab.common.notify import Notify


@contextmanager
def file_lock(lock: Path, what: str, deadline_s: float, notify: Notify) -> Iterator[None]:
    """Hold `lock` while doing `what`. Raises HostCannot when another process has it for `deadline_s`."""
    until = time.monotonic() + deadline_s
    waiting = False
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    says = f"another process is {what} for over {deadline_s:g} s ({lock}): is it stuck?"
                    raise HostCannot(says) from None
                if not waiting:
                    notify(f"waiting for another process that is {what}")
                waiting = True
                time.sleep(0.2)
        yield
