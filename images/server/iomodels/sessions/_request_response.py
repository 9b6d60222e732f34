"""Requests and answers in order, waits included: shared by all request-and-answer wires."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from iomodels.session import CLOSE, Effect, Effects, Wait

Message = TypeVar("Message")


class RequestResponse(Generic[Message]):
    """Answers messages in order: a message that has to wait delays all messages behind it.

    A subclass defines how long a message waits (`wait_s_for`) and its answer (`reply`).
    """

    __slots__ = ("_final", "_waiting", "answers")

    def __init__(self) -> None:
        self.answers = 0
        self._waiting: deque[Message] | None = None  # unanswered; the wait of the first is running
        self._final: Effects = ()  # what follows the last answer, when no more messages are accepted

    def wait_s_for(self, message: Message) -> float:
        """Return how long to wait before the answer."""
        raise NotImplementedError

    def reply(self, message: Message) -> Effects:
        """Return the answer; if it ends with `CLOSE`, it is the last of the connection."""
        raise NotImplementedError

    def opened(self) -> Effects:
        """Return no effects: the client speaks first."""
        return ()

    def respond(self, messages: Sequence[Message], final: Effects = ()) -> Effects:
        """Answer messages; `final` follows the answer of the last."""
        self._final = self._final or final
        effects: list[Effect] = []
        for index, message in enumerate(messages):
            seconds = self.wait_s_for(message)
            if seconds:
                self._waiting = deque(messages[index:])
                effects.append(Wait(seconds))
                return _join_bytes(effects)
            effects += self.reply(message)
            self.answers += 1
        effects += self._final
        return effects if len(effects) < 2 else _join_bytes(effects)

    def resumed(self) -> Effects:
        """Answer the message that waited, then the messages behind it."""
        waiting = self._waiting or deque()
        self._waiting = None
        effects = self.reply(waiting.popleft())
        self.answers += 1
        return _join_bytes([*effects, *self.respond(list(waiting))])

    def eof(self) -> Effects:
        """Close when all messages are answered."""
        return self._final or (CLOSE,)


def _join_bytes(effects: Sequence[Effect]) -> Effects:
    """Join adjacent bytes, so that pipelined answers are sent by one write."""
    joined: list[Effect] = []
    run: list[bytes] = []
    for effect in effects:
        if isinstance(effect, bytes):
            run.append(effect)
            continue
        if run:
            joined.append(b"".join(run))
            run = []
        joined.append(effect)
    if run:
        joined.append(b"".join(run))
    return joined
