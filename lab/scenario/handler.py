"""What a request does at the server: the handlers of the server image, and the wires that can carry them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

from lab.common import units
from lab.scenario.problem import wrong
from lab.scenario.strict import as_written, unknown

HANDLERS = {"hello": None, "json": None, "echo": None, "sleep": "10ms", "cpu": "200us", "file": "64KiB"}
# What the server takes (images/server/iomodels/units.py).
MAX_S = 60.0
MAX_BYTES = 1 << 20
# The largest UDP payload over IPv4 (RFC 768, RFC 791) less the id of 8 bytes (images/wire/datagram.py).
MAX_DATAGRAM_BYTES = 65_507 - 8


def _handler(value: Any, info: ValidationInfo) -> str:
    """Read `hello` or `{sleep: 10ms}` as the text that the server takes: `hello`, `sleep:10ms`.

    Raises ValueError.
    """
    kind, argument = value, None
    if isinstance(value, dict) and len(value) == 1:
        kind, argument = next(iter(value.items()))
    elif isinstance(value, str) and ":" in value:
        kind, argument = value.split(":", 1)
    place = (kind,) if isinstance(value, dict) and isinstance(kind, str) else ()
    if not isinstance(kind, str):
        raise wrong(_one_handler(value))
    if kind not in HANDLERS:
        raise wrong(unknown(kind, list(HANDLERS), "handler"), place, at_key=bool(place))
    example = HANDLERS[kind]
    if example is None:
        if argument is not None:
            raise wrong(f"{kind} takes no argument", place)
        return kind
    if argument is None:
        raise wrong(f"{kind} needs an argument: {{{kind}: {example}}}", place)
    if not as_written(info):
        return f"{kind}:{argument}"
    try:
        read = _size(argument) if kind == "file" else _duration(argument, "us" if kind == "cpu" else "ms")
        return f"{kind}:{read}"
    except ValueError as error:
        raise wrong(str(error), place) from None


def _one_handler(value: Any) -> str:
    has = f", not {len(value)}: {', '.join(map(str, value))}" if isinstance(value, dict) and value else ""
    return f"write one handler, such as hello or {{sleep: 10ms}}{has}"


def _duration(text: Any, likely: str) -> str:
    """Return a duration as the server reads it. Raises ValueError."""
    value = units.seconds(text, likely)
    if value > MAX_S:
        raise ValueError(f"{text} is more than {MAX_S:g}s")
    return text if re.fullmatch(r"[0-9.]+(us|ms|s)", text) else f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def _size(text: Any) -> str:
    """Return a size as the server reads it. Raises ValueError."""
    value = units.size_bytes(text, likely="KiB")
    if value > MAX_BYTES:
        raise ValueError(f"{text} is more than {MAX_BYTES >> 20}MiB")
    return text if re.fullmatch(r"[0-9.]+(B|KiB|MiB)", text) else f"{value}B"


def answer_bytes(handler: str) -> int:
    """Return the size of the answer of `file:64KiB`; 0 for a handler whose answers fit every wire."""
    kind, _, size = handler.partition(":")
    return units.size_bytes(size) if kind == "file" else 0


def unfit(handler: str, wire: str) -> str:
    """Say why a wire cannot carry a handler; empty if it can."""
    if wire == "greet" and handler != "hello":
        return "wire greet has a greeting in place of answers, so it takes no handler"
    if wire == "datagram" and answer_bytes(handler) > MAX_DATAGRAM_BYTES:
        return (
            f"an answer of {answer_bytes(handler):,} bytes is more than wire datagram can carry: "
            f"{MAX_DATAGRAM_BYTES:,} bytes (the largest UDP payload less the id of a request)"
        )
    return ""


Handler = Annotated[
    str,
    BeforeValidator(_handler),
    WithJsonSchema(
        {
            "oneOf": [
                {"enum": [name for name, argument in HANDLERS.items() if argument is None]},
                {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name, arg in HANDLERS.items() if arg},
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
