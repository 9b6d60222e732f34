"""A lock between processes, by flock(2): the kernel releases it when its holder ends, however it ends."""

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
    """Hold the file `lock` while doing `what`. Raises HostCannot if another holds it for `deadline_s`."""
    until = time.monotonic() + deadline_s
    waiting = False
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    says = f"another process has been {what} for over {deadline_s:g} s ({lock}): is it stuck?"
                    raise HostCannot(says) from None
                if not waiting:
                    notify(f"waiting for another process that is {what}")
                waiting = True
                time.sleep(0.2)
        yield
