"""Checked reading of decoded JSON settings.

Each function returns the value of a setting, or raises `SettingsError` with its name and the accepted values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import SettingsError

JsonObject = Mapping[str, Any]


def json_object(raw: JsonObject, key: str, default: JsonObject | None = None) -> JsonObject:
    """Return an object."""
    value = raw.get(key, default)
    if not isinstance(value, Mapping):
        raise SettingsError(f"{key} must be an object, not {value!r}")
    return value


def refuse_unknown(raw: JsonObject, where: str, known: Sequence[str]) -> None:
    """Refuse unknown keys: a misspelt setting must not become a silent default."""
    for key in raw:
        if key not in known:
            raise SettingsError(f"{where}: unknown setting {key!r}; known: {', '.join(known)}")


def one_of(raw: JsonObject, key: str, known: Sequence[str], default: str | None = None) -> str:
    """Return one of the known words."""
    value = raw.get(key, default)
    if value not in known:
        raise SettingsError(f"{key} must be one of {', '.join(known)}, not {value!r}")
    return str(value)


def integer(raw: JsonObject, key: str, default: int | None = None, *, least: int) -> int:
    """Return an integer of at least `least`."""
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingsError(f"{key} must be a whole number of at least {least}, not {value!r}")
    return value


def positive(raw: JsonObject, key: str, default: float | None = None) -> float:
    """Return a number above 0."""
    value = _number(raw, key, default, "above 0")
    if value <= 0:
        raise SettingsError(f"{key} must be a number above 0, not {value:g}")
    return value


def non_negative(raw: JsonObject, key: str, default: float | None = None) -> float:
    """Return a number of at least 0."""
    value = _number(raw, key, default, "of at least 0")
    if value < 0:
        raise SettingsError(f"{key} must be a number of at least 0, not {value:g}")
    return value


def fraction(raw: JsonObject, key: str, default: float = 0.0) -> float:
    """Return a number from 0 to 1."""
    value = non_negative(raw, key, default)
    if value > 1:
        raise SettingsError(f"{key} must be a share from 0 to 1, not {value:g}")
    return value


def boolean(raw: JsonObject, key: str, default: bool = False) -> bool:
    """Return true or false."""
    value = raw.get(key, default)
    if not isinstance(value, bool):
        raise SettingsError(f"{key} must be true or false, not {value!r}")
    return value


def array(raw: JsonObject, key: str, default: Sequence[Any] = ()) -> Sequence[Any]:
    """Return an array."""
    value = raw.get(key, default)
    if not isinstance(value, list | tuple):
        raise SettingsError(f"{key} must be a list, not {value!r}")
    return value


def _number(raw: JsonObject, key: str, default: float | None, bound: str) -> float:
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{key} must be a number {bound}, not {value!r}")
    return float(value)
