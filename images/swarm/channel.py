"""JSON lines between the engine and its parent, on two non-blocking pipes.

A parent that is slow to read must not stop the load: what the pipe does not take is kept and written at a
later tick. The parent's end of stream tells the engine to stop, so an engine does not outlive its worker.
"""

from __future__ import annotations

import errno
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any


class Channel:
    """A descriptor to read from and one to write to; both are set to non-blocking."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd, self._write_fd = read_fd, write_fd
        self._unread = b""
        self._unwritten: deque[bytes] = deque()
        self.ended = False
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def receive(self) -> Iterator[dict[str, Any]]:
        """Yield the complete lines received so far; set `ended` at the peer's end of stream."""
        try:
            data = os.read(self.read_fd, 65536)
        except BlockingIOError:
            return
        self.ended = not data
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            yield json.loads(line)

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line, or queue it until the pipe takes it."""
        self._unwritten.append(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        self.flush()

    def flush(self) -> bool:
        """Write what the pipe takes; return whether the queue is empty."""
        while self._unwritten:
            data = self._unwritten[0]
            try:
                written = os.write(self._write_fd, data)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                self.ended = True  # the reader is gone
                self._unwritten.clear()
                return True
            if written == len(data):
                self._unwritten.popleft()
            else:
                self._unwritten[0] = data[written:]
        return True
