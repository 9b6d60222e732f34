"""Tell the user what a long step does: a callback that takes one line of text."""

from __future__ import annotations

from collections.abc import Callable

Notify = Callable[[str], None]
