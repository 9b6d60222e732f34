"""A dict as a bounded cache."""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")
_ENTRIES_MAX = 256


def store(cache: dict[_K, _V], key: _K, value: _V) -> None:
    """Add an entry; a full cache is emptied first, which bounds its memory."""
    if len(cache) >= _ENTRIES_MAX:
        cache.clear()
    cache[key] = value
