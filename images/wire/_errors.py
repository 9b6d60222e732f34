"""The one error a wire raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ProtocolError(Exception):
    """The peer broke the rules of the wire: the connection cannot go on.

    Attributes:
        status: the HTTP status that tells the peer why; 0 on wires without one and on the client's side.
        parsed: the messages of the same `feed` that were complete before the fault, in order. They are good
        and
            still deserve their answers.
    """

    def __init__(self, says: str, status: int = 0, parsed: Sequence[Any] = ()) -> None:
        super().__init__(says)
        self.status = status
        self.parsed = parsed
