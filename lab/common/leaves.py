"""Walk nested data down to its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def leaves(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the value of everything in nested mappings; lists and empty mappings are values."""
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value
