"""The error that every wire raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ProtocolError(Exception):
    """The peer violated the protocol; the connection must be closed.

    Attributes:
        status: HTTP status to answer with; 0 on wires that have no status and on the client's side.
        parsed: Messages of the same `feed` that were complete before the error, in order. They are valid: a
            server still answers them.
    """

    def __init__(self, message: str, status: int = 0, parsed: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.parsed = parsed
