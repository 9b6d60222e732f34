"""Request, answer, request, answer: the order every request-and-answer wire keeps, waits included."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from iomodels.session import CLOSE, Effect, Effects, Wait

M = TypeVar("M")


class Turns(Generic[M]):
    """Answers messages in order. A message that must wait holds those behind it: answers never overtake.

    A wire says how long a message waits (`waits_s`) and what answers it (`reply`).
    """

    __slots__ = ("_last", "_waiting", "answers")

    def __init__(self) -> None:
        self.answers = 0
        self._waiting: deque[M] | None = None  # the first one's wait is running
        self._last: Effects = ()  # what follows the last answer, when no more messages will be taken

    def waits_s(self, message: M) -> float:
        """Return how long to wait before answering."""
        raise NotImplementedError

    def reply(self, message: M) -> Effects:
        """Return the answer; with `CLOSE` at its end, it is the connection's last."""
        raise NotImplementedError

    def opened(self) -> Effects:
        """Say nothing: the client speaks first."""
        return ()

    def take(self, messages: Sequence[M], last: Effects = ()) -> Effects:
        """Answer messages; `last` goes behind the last of them."""
        self._last = self._last or last
        effects: list[Effect] = []
        for place, message in enumerate(messages):
            seconds = self.waits_s(message)
            if seconds:
                self._waiting = deque(messages[place:])
                effects.append(Wait(seconds))
                return _joined(effects)
            effects += self.reply(message)
            self.answers += 1
        effects += self._last
        return effects if len(effects) < 2 else _joined(effects)

    def resumed(self) -> Effects:
        """Answer the message that waited, then go on with those behind it."""
        waiting = self._waiting or deque()
        self._waiting = None
        effects = self.reply(waiting.popleft())
        self.answers += 1
        return _joined([*effects, *self.take(list(waiting))])

    def ended(self) -> Effects:
        """Close, once everything taken is answered."""
        return self._last or (CLOSE,)


def _joined(effects: Sequence[Effect]) -> Effects:
    """Join neighbouring bytes: pipelined answers leave in one write."""
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
