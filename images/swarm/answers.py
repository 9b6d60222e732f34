"""What each handler of the contract answers; every answer of a load is checked against it.

Server and swarm each have their own table: a shared one would hide its mistakes. The handler `any` (for
images of one's own) accepts every answer that is not empty.
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
    """The answer is well-formed but not the expected one; the message says how it differs."""


def expected_answer(handler: str, sent: bytes) -> bytes | None:
    """Return the payload a handler answers to `sent`; None if any payload is accepted.

    Raises:
        SettingsError: The handler is not known.
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
    """Compare a payload with the expected one; None expects any payload that is not empty.

    Raises:
        WrongAnswerError: They differ.
    """
    if payload == expected or (expected is None and payload):
        return
    wanted = (
        "a payload that is not empty" if expected is None else f"{expected[:40]!r} ({len(expected)} bytes)"
    )
    raise WrongAnswerError(f"expected {wanted}, got {payload[:40]!r} ({len(payload)} bytes)")
