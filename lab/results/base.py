"""What every kept record shares: frozen, strict about types, and closed to keys that are not its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Strict, ValidationError

# `"3"` is no count and `true` is no number: what a damaged file holds is refused, not converted.
Count = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
# A sweep point: the swept path → the value that the scenario has there, as it was written.
Point = Mapping[str, Any]


class RecordModel(BaseModel):
    """A record as it is kept in a run's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """Return plain data: the keys that were told, no others."""
        return self.model_dump(mode="json", exclude_unset=True)

    def replaced(self, **changes: Any) -> Self:
        """Return a copy with other values, which are validated as well. Raises ValueError."""
        return type(self).model_validate({**self.to_json(), **changes})


def describe(error: Exception) -> str:
    """Put an error of decoding in one line; of many wrong fields the first three."""
    if not isinstance(error, ValidationError):
        return str(error)
    wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
    return "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
