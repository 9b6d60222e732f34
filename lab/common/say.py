"""How a long step tells its user what it does: one line of text a call."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
