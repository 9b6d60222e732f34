"""A file, sent by sendfile(2) where the model can: its bytes never enter the server's memory."""

from __future__ import annotations

import os
import tempfile

from iomodels.handlers import Handler
from iomodels.session import SendFile
from iomodels.units import size_bytes

PATTERN = b"0123456789abcdef"


class File:
    """Answers with a file of known content: `PATTERN` again and again."""

    content_type = "application/octet-stream"
    wait_s = 0.0

    def __init__(self, length: int) -> None:
        with tempfile.TemporaryFile() as file:  # it has no name, and goes with its last descriptor
            file.write((PATTERN * (length // len(PATTERN) + 1))[:length])
            file.flush()
            self._whole = SendFile(os.dup(file.fileno()), 0, length)

    def answer(self, payload: bytes) -> bytes | SendFile:
        """Return the whole file."""
        del payload
        return self._whole if self._whole.length else b""


def make(argument: str) -> Handler:
    """Return the handler for a file of a size such as ``64KiB``, made now."""
    return File(size_bytes(argument))
