"""What a request does at the server: the handlers of the server image, and the wires that can carry them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from lab.common import units
from lab.scenario.problem import wrong
from lab.scenario.strict import unknown

HANDLERS = {"hello": None, "json": None, "echo": None, "sleep": "10ms", "cpu": "200us", "file": "64KiB"}


def _handler(value: Any) -> str:
    """Read `hello` or `{sleep: 10ms}` as the text that the server takes: `hello`, `sleep:10ms`.

    Raises ValueError.
    """
    kind, argument = value, None
    if isinstance(value, dict) and len(value) == 1:
        kind, argument = next(iter(value.items()))
    elif isinstance(value, str) and ":" in value:
        kind, argument = value.split(":", 1)
    place = (kind,) if isinstance(value, dict) else ()
    if not isinstance(kind, str) or kind not in HANDLERS:
        raise wrong(unknown(str(kind), list(HANDLERS), "handler"), place, at_key=bool(place))
    example = HANDLERS[kind]
    if example is None:
        if argument is not None:
            raise wrong(f"{kind} takes no argument", place)
        return kind
    if argument is None:
        raise wrong(f"{kind} needs an argument: {{{kind}: {example}}}", place)
    try:
        (units.size_bytes if kind == "file" else units.seconds)(argument)
    except ValueError as error:
        raise wrong(str(error), place) from None
    return f"{kind}:{argument}"


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
