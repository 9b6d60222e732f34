"""What every part of a scenario shares: frozen, strict, kebab-case; unknown keys name the nearest one."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from lab.common import units


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


class Part(BaseModel):
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


def quantity(parse: Any, pattern: str, example: str) -> Any:
    """A field that is written with a unit and read as a number of the base unit."""
    schema = {"type": "string", "pattern": pattern, "examples": [example]}
    return BeforeValidator(parse), WithJsonSchema(schema)


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", text):
        raise ValueError(f"{text!r} is no name: lower-case letters, digits, '.', '_' and '-', at most 63")
    return text


Name = Annotated[str, AfterValidator(_name)]
Seconds = Annotated[float, *quantity(units.seconds, r"^\d+(\.\d+)?(us|ms|s|min|h)$", "50ms")]
Bytes = Annotated[int, *quantity(units.size_bytes, r"^\d+(\.\d+)?(B|[KMG]i?B)$", "1GiB")]
Arrivals = Annotated[float, *quantity(units.arrivals_per_s, r"^\d+(\.\d+)?/(s|min)$", "2000/s")]
BytesPerS = Annotated[float, *quantity(units.bytes_per_s, r"^\d+(\.\d+)?(Ki)?B/s$", "10B/s")]
Share = Annotated[float, *quantity(units.share, r"^\d+(\.\d+)?%$", "1%")]
