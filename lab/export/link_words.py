"""The links of a scenario in words, as they were written. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def link_words(data: Mapping[str, Any]) -> list[str]:
    """Return each link of a scenario as it was written: `swarm - servers: delay 20ms, loss 1%`."""
    return [_link(link) for link in data.get("links", ())]


def _link(link: Mapping[str, Any]) -> str:
    ends = " - ".join(map(str, link["endpoints"]))
    return f"{ends}: {', '.join(_words({k: v for k, v in link.items() if k != 'endpoints'}))}"


def _words(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield f"{key} ({', '.join(_words(value))})"
        elif isinstance(value, list):
            yield f"{key} {' '.join(map(str, value))}"
        else:
            yield f"{key} {value}"
