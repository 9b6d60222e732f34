"""A file, sent by sendfile(2) where the model can: then its bytes are not copied to user space."""

from __future__ import annotations

import os
import tempfile

from iomodels.handlers import Handler
from iomodels.session import SendFile
from iomodels.units import size_bytes

PATTERN = b"0123456789abcdef"


class File:
    """Answers with a file of known content: `PATTERN`, repeated."""

    content_type = "application/octet-stream"
    wait_s = 0.0

    def __init__(self, length: int) -> None:
        with tempfile.TemporaryFile() as file:  # unlinked: the last close(2) frees it
            file.write((PATTERN * (length // len(PATTERN) + 1))[:length])
            file.flush()
            self._file = SendFile(os.dup(file.fileno()), 0, length)

    def answer(self, payload: bytes) -> bytes | SendFile:
        """Return the whole file."""
        del payload
        return self._file if self._file.length else b""


def make(argument: str) -> Handler:
    """Make a file of a size such as ``64KiB``, and return its handler."""
    return File(size_bytes(argument))
