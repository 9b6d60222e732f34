"""What every kept record shares: frozen, strict about types, and closed to keys that are not its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

MOST_NESTED = 64
INTEGERS = range(-(1 << 63), 1 << 64)  # what the kernel's counters and limits fit in

# `"3"` is no count and `true` is no number: what a damaged file holds is refused, not converted.
Count = Annotated[int, Strict(), Field(ge=0)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
# A name that becomes part of a path: it names nothing outside of its folder.
FolderName = Annotated[str, Field(pattern=r"^[^/\x00]+$")]
# A sweep point: the swept path → the value that the scenario has there, as it was written.
Point = Mapping[str, Any]


class RecordModel(BaseModel):
    """A record as it is kept in a run's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the keys that were set, no others."""
        return self.model_dump(mode="json", exclude_unset=True)

    def replaced(self, **changes: Any) -> Self:
        """Return a copy with other values, which are validated as well. Raises ValueError."""
        return type(self).model_validate({**self.to_json(), **changes})


def describe(error: Exception) -> str:
    """Put an error of decoding in one line; of many wrong fields the first three."""
    if not isinstance(error, ValidationError):
        return str(error)
    wrong = [
        ": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"])))
        for one in error.errors(include_url=False)
    ]
    return "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")


def read_json(path: Path) -> Any:
    """Read a JSON file as RFC 8259 has it, with values that every reader can hold.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no JSON, or holds Infinity, NaN, an integer of more than 64 bits, half of a
            surrogate pair, or more than MOST_NESTED levels.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"nested deeper than {MOST_NESTED} levels") from None
    _check(value)
    return value


def _check(value: Any, level: int = 0) -> None:
    """Refuse what other readers of the value would fail at. Raises ValueError."""
    if level > MOST_NESTED:
        raise ValueError(f"nested deeper than {MOST_NESTED} levels")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check(key, level + 1)
            _check(inner, level + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, level + 1)
    else:
        _check_leaf(value)


def _check_leaf(value: Any) -> None:
    if isinstance(value, str):
        value.encode()  # half of a surrogate pair: UnicodeEncodeError, which is a ValueError
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number of JSON")
    elif isinstance(value, int) and value not in INTEGERS:
        raise ValueError("an integer has more than 64 bits")
