"""What each handler of the contract answers, so that a wrong answer is seen at every request.

Both ends state it on their own: a shared table would hide a mistake in it. A handler called `any` (an image
of one's own) may answer what it likes, but something.
"""

from __future__ import annotations

import re

from .errors import SettingsError

HELLO = b"Hello, World!"
JSON = b'{"message":"Hello, World!"}'
FILE_PATTERN = b"0123456789abcdef"
FIXED = {"hello": HELLO, "sleep": HELLO, "cpu": HELLO, "json": JSON}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(B|KiB|MiB)")
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}


class WrongAnswerError(Exception):
    """The answer keeps to the wire and is not the right one; the message says how it differs."""


def right_answer(handler: str, sent: bytes) -> bytes | None:
    """Return the payload a handler answers to `sent`, None where any will do.

    Raises `SettingsError` for a handler that is not known.
    """
    name, _, argument = handler.partition(":")
    if name == "echo":
        return sent
    if name == "any":
        return None
    if name == "file" and (size := _SIZE.fullmatch(argument)):
        length = int(float(size[1]) * _BYTES[size[2]])
        return (FILE_PATTERN * (length // len(FILE_PATTERN) + 1))[:length]
    if name in FIXED:
        return FIXED[name]
    raise SettingsError(f"handler must be one of {', '.join(FIXED)}, echo, file:SIZE or any, not {handler!r}")


def check(payload: bytes, expected: bytes | None) -> None:
    """Raise `WrongAnswerError` unless the payload is the expected one, or any but none where any will do."""
    if payload == expected or (expected is None and payload):
        return
    wanted = "something" if expected is None else f"{expected[:40]!r} ({len(expected)} bytes)"
    raise WrongAnswerError(f"expected {wanted}, got {payload[:40]!r} ({len(payload)} bytes)")
