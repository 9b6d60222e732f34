"""What every part of a scenario shares: frozen, strict, kebab-case; unknown keys name the nearest one.

A value comes in two ways: a person writes it with its unit (`20ms`), a record keeps it as a number in the
base unit (0.02). Both are read. Under the validation context AS_WRITTEN a number without a unit is an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lab.common import units

# The validation context for what a person writes: files, environment variables, flags.
AS_WRITTEN: Mapping[str, bool] = {"as_written": True}


def as_written(info: ValidationInfo) -> bool:
    """Whether the value was written by a person, so that a number needs its unit."""
    return bool(info.context and info.context.get("as_written"))


def unknown(word: str, known: list[str], what: str) -> str:
    """`unknown model 'epol'; did you mean epoll_lt or epoll_et?`, or the list of all that are known."""
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6) or [
        k for k in known if k.startswith(word[:4])
    ]
    if near:
        return f"unknown {what} {word!r}; did you mean {' or '.join(near[:3])}?"
    return f"unknown {what} {word!r}; known: {', '.join(known)}"


def kebab(name: str) -> str:
    """`spawn_rate` → `spawn-rate`: the YAML spelling of a field."""
    return name.replace("_", "-")


class ScenarioModel(BaseModel):
    """A part of a scenario."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=kebab, validate_by_name=True, strict=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for key in data:
                if key not in known and key not in cls.model_fields:
                    says = unknown(str(key), known, "key")
                    raise PydanticCustomError("unknown_key", "{says}", {"says": says, "key": key})
        return data


def parse_unless_stored(parse: Callable[[object], float]) -> Callable[[Any, ValidationInfo], Any]:
    """Read text as a number in the base unit; pass on a number, unless a person wrote it: then an error."""

    def read(value: Any, info: ValidationInfo) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number and not as_written(info) else parse(value)

    return read


def with_unit(parse: Callable[[object], float], pattern: str, example: str, most: float | None = None) -> Any:
    """Annotate a field that is written with a unit and kept as a number of the base unit, 0 … `most`."""
    schema = {"type": "string", "pattern": pattern, "examples": [example]}
    bounds = Field(ge=0, le=most, allow_inf_nan=False)
    return bounds, BeforeValidator(parse_unless_stored(parse)), WithJsonSchema(schema)


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", text):
        raise ValueError(f"{text!r} is no name: lower-case letters, digits, '.', '_' and '-', at most 63")
    return text


Name = Annotated[str, AfterValidator(_name)]
Seconds = Annotated[float, *with_unit(units.seconds, r"^\d+(\.\d+)?(us|ms|s|min|h)$", "50ms")]
Bytes = Annotated[int, *with_unit(units.size_bytes, r"^\d+(\.\d+)?(B|[KMG]i?B)$", "1GiB")]
Arrivals = Annotated[float, *with_unit(units.arrivals_per_s, r"^\d+(\.\d+)?/(s|min)$", "2000/s")]
BytesPerS = Annotated[float, *with_unit(units.bytes_per_s, r"^\d+(\.\d+)?(Ki)?B/s$", "10B/s")]
Share = Annotated[float, *with_unit(units.share, r"^\d+(\.\d+)?%$", "1%", most=1)]
