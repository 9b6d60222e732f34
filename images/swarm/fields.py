"""Checked reading of decoded JSON settings: a function returns a value or names the setting that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import SettingsError

Raw = Mapping[str, Any]


def mapping(raw: Raw, key: str, default: Raw | None = None) -> Raw:
    """Return an object."""
    value = raw.get(key, default)
    if not isinstance(value, Mapping):
        raise SettingsError(f"{key} must be an object, not {value!r}")
    return value


def only(raw: Raw, where: str, known: Sequence[str]) -> None:
    """Refuse keys that nobody reads: a misspelt setting must not be a silent default."""
    for key in raw:
        if key not in known:
            raise SettingsError(f"{where}: unknown setting {key!r}; known: {', '.join(known)}")


def one_of(raw: Raw, key: str, known: Sequence[str], default: str | None = None) -> str:
    """Return one of the known words."""
    value = raw.get(key, default)
    if value not in known:
        raise SettingsError(f"{key} must be one of {', '.join(known)}, not {value!r}")
    return str(value)


def whole(raw: Raw, key: str, default: int | None = None, *, least: int) -> int:
    """Return a whole number of at least `least`."""
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingsError(f"{key} must be a whole number of at least {least}, not {value!r}")
    return value


def positive(raw: Raw, key: str, default: float | None = None) -> float:
    """Return a number above 0."""
    value = _number(raw, key, default, "above 0")
    if value <= 0:
        raise SettingsError(f"{key} must be a number above 0, not {value:g}")
    return value


def amount(raw: Raw, key: str, default: float | None = None) -> float:
    """Return a number of at least 0."""
    value = _number(raw, key, default, "of at least 0")
    if value < 0:
        raise SettingsError(f"{key} must be a number of at least 0, not {value:g}")
    return value


def share(raw: Raw, key: str, default: float = 0.0) -> float:
    """Return a number from 0 to 1."""
    value = amount(raw, key, default)
    if value > 1:
        raise SettingsError(f"{key} must be a share from 0 to 1, not {value:g}")
    return value


def flag(raw: Raw, key: str, default: bool = False) -> bool:
    """Return true or false."""
    value = raw.get(key, default)
    if not isinstance(value, bool):
        raise SettingsError(f"{key} must be true or false, not {value!r}")
    return value


def items(raw: Raw, key: str, default: Sequence[Any] = ()) -> Sequence[Any]:
    """Return a list."""
    value = raw.get(key, default)
    if not isinstance(value, list | tuple):
        raise SettingsError(f"{key} must be a list, not {value!r}")
    return value


def _number(raw: Raw, key: str, default: float | None, bound: str) -> float:
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{key} must be a number {bound}, not {value!r}")
    return float(value)
