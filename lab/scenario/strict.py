"""The base model of a scenario and its field types: frozen, strict, kebab-case keys.

A quantity has two forms: a person writes it with its unit (`20ms`), a record stores it as a number in the
base unit (0.02). Both are read. In the validation context AS_WRITTEN a number without a unit is an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from functools import partial
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

# The validation context for input that a person writes: files, environment variables, flags.
AS_WRITTEN: Mapping[str, bool] = {"as_written": True}


def as_written(info: ValidationInfo) -> bool:
    """Tell whether a person wrote the value: then a number needs its unit."""
    return bool(info.context == AS_WRITTEN)


def unknown(word: str, known: list[str], what: str) -> str:
    """Describe an unknown word: `unknown model 'epol'; did you mean epoll_lt or epoll_et?`.

    Without a similar word the text lists all known ones.
    """
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6) or [
        k for k in known if k.startswith(word[:4])
    ]
    if near:
        return f"unknown {what} {word!r}; did you mean {' or '.join(near[:3])}?"
    return f"unknown {what} {word!r}; known: {', '.join(known)}"


def kebab(name: str) -> str:
    """Return the YAML key of a field: `spawn_rate` → `spawn-rate`."""
    return name.replace("_", "-")


class ScenarioModel(BaseModel):
    """The base of every model in a scenario: an unknown key is an error that names the nearest known one.

    A record may have the names of fields (`spawn_rate`) in place of the keys (`spawn-rate`).
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=kebab, validate_by_name=True, strict=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any, info: ValidationInfo) -> Any:
        if isinstance(data, dict):
            aliases = {name: field.alias or name for name, field in cls.model_fields.items()}
            known = list(aliases.values())
            for key in data:
                if key in known or (key in aliases and not as_written(info)):
                    continue
                alias = aliases.get(key)
                message = (
                    f"unknown key {key!r}; did you mean {alias}?"
                    if alias
                    else unknown(str(key), known, "key")
                )
                raise PydanticCustomError("unknown_key", "{message}", {"message": message, "key": key})
        return data


def parse_unless_stored(parse: Callable[[object], float]) -> Callable[[Any, ValidationInfo], Any]:
    """Return a validator that parses text and keeps a stored number.

    A number without a unit that a person wrote raises ValueError.
    """

    def read(value: Any, info: ValidationInfo) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number and not as_written(info) else parse(value)

    return read


def with_unit(
    parse: Callable[[object], float], pattern: str, example: str, maximum: float | None = None
) -> Any:
    """Return the annotations of a field: written with a unit, stored in the base unit, 0 … `maximum`."""
    schema = {"type": "string", "pattern": pattern, "examples": [example]}
    bounds = Field(ge=0, le=maximum, allow_inf_nan=False)
    return bounds, BeforeValidator(parse_unless_stored(parse)), WithJsonSchema(schema)


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", text):
        raise ValueError(
            f"{text!r} is not a valid name: use lower-case letters, digits, '.', '_', '-', at most 63 of them"
        )
    return text


Name = Annotated[str, AfterValidator(_name)]
_DURATION = r"^\d+(\.\d+)?(us|ms|s|min|h)$"
# Both are in seconds. They differ in the unit that an error suggests for a bare number.
Seconds = Annotated[float, *with_unit(partial(units.seconds, likely="s"), _DURATION, "5s")]
ShortSeconds = Annotated[float, *with_unit(units.seconds, _DURATION, "50ms")]
Bytes = Annotated[int, *with_unit(units.size_bytes, r"^\d+(\.\d+)?(B|[KMG]i?B)$", "1GiB", maximum=2**63 - 1)]
Arrivals = Annotated[float, *with_unit(units.arrivals_per_s, r"^\d+(\.\d+)?/(s|min)$", "2000/s")]
BytesPerS = Annotated[float, *with_unit(units.bytes_per_s, r"^\d+(\.\d+)?(Ki)?B/s$", "10B/s")]
Share = Annotated[float, *with_unit(units.share, r"^\d+(\.\d+)?%$", "1%", maximum=1)]
