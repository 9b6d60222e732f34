"""Heads of HTTP/1.1 messages: their syntax and what they say about the body (RFC 9110, RFC 9112).

Two readers that understand the same bytes differently are how requests get smuggled. So nothing is guessed
here: lines end in CRLF and nothing else, a name touches its colon, a folded line, a second length, a length
beside a transfer coding, or a coding that is not exactly ``chunked`` is refused.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from wire._errors import ProtocolError

MAX_HEAD_BYTES = 16384
MAX_LINE_BYTES = 8192
MAX_FIELDS = 100
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})

_TCHAR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TOKEN = re.compile(rf"{_TCHAR}+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"[\x21-\x7e]+")
_VERSION = re.compile(r"HTTP/([0-9])\.([0-9])")
_STATUS_LINE = re.compile(r"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_HOST = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_LENGTH = re.compile(r"[0-9]{1,18}")
_BARE_LF = re.compile(rb"(?<!\r)\n")

Fields = tuple[tuple[str, str], ...]


class RequestHead(NamedTuple):
    """Request line and fields; names in lower case. `minor` is the minor version: 0 or 1."""

    method: str
    target: str
    minor: int
    headers: Fields


class ResponseHead(NamedTuple):
    """Status line and fields; names in lower case."""

    status: int
    reason: str
    minor: int
    headers: Fields


class Framing(NamedTuple):
    """How long the body is: `length` bytes, or `chunked`, or (both unset) not said."""

    length: int | None
    chunked: bool


def cut_head(buffer: bytearray, scanned: int) -> tuple[str | None, int]:
    """Take a whole head off the front of `buffer`.

    Returns:
        The head without its empty line and 0, or None and how far the buffer has been looked at.

    Raises:
        ProtocolError: too long, or not CRLF lines (found before the head is whole, so that nobody waits for
        it).
    """
    end = buffer.find(b"\r\n\r\n", max(0, scanned - 3))
    limit = len(buffer) if end < 0 else end
    if (bare := _BARE_LF.search(buffer, max(0, scanned - 1), limit)) is not None:
        raise ProtocolError(f"a line ends without CR at byte {bare.start()}", 400)
    if limit > MAX_LINE_BYTES and buffer.find(b"\r\n", 0, MAX_LINE_BYTES + 2) < 0:
        raise ProtocolError(f"first line longer than {MAX_LINE_BYTES} bytes", 414)
    if limit > MAX_HEAD_BYTES:
        raise ProtocolError(f"head longer than {MAX_HEAD_BYTES} bytes", 431)
    if end < 0:
        return None, len(buffer)
    head = buffer[:end].decode("latin-1")
    del buffer[: end + 4]
    return head, 0


def parse_fields(lines: list[str]) -> Fields:
    """Return the field lines as (lower-case name, value) pairs.

    Raises:
        ProtocolError: bad syntax, or more than `MAX_FIELDS`.
    """
    if len(lines) > MAX_FIELDS:
        raise ProtocolError(f"more than {MAX_FIELDS} fields", 431)
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or _TOKEN.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise ProtocolError(f"bad field line {line[:80]!r}", 400)
        fields.append((name.lower(), value.strip(" \t")))
    return tuple(fields)


def parse_request_head(head: str) -> RequestHead:
    """Return a request's head, checked for syntax, version, method, target and Host.

    Raises:
        ProtocolError: with 400, 417, 431, 501 or 505.
    """
    first, *lines = head.split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or _TOKEN.fullmatch(parts[0]) is None or _TARGET.fullmatch(parts[1]) is None:
        raise ProtocolError(f"bad request line {first[:80]!r}", 400)
    method, target, version = parts
    if (found := _VERSION.fullmatch(version)) is None:
        raise ProtocolError(f"bad version {version[:80]!r}", 400)
    if found[1] != "1":
        raise ProtocolError(f"version {version} is not spoken here", 505)
    headers = parse_fields(lines)
    minor = min(int(found[2]), 1)
    if method not in METHODS:
        raise ProtocolError(f"unknown method {method[:80]!r}", 501)
    _check_target(method, target)
    _check_host(minor, headers)
    return RequestHead(method, target, minor, headers)


def parse_response_head(head: str) -> ResponseHead:
    """Return a response's head.

    Raises:
        ProtocolError: bad syntax; `status` 0, the peer is a server.
    """
    first, *lines = head.split("\r\n")
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise ProtocolError(f"bad status line {first[:80]!r}")
    return ResponseHead(int(found[2]), found[3] or "", min(int(found[1]), 1), parse_fields(lines))


def values(headers: Fields, name: str) -> list[str]:
    """Return every value of the field `name`, in order."""
    return [value for key, value in headers if key == name]


def members(headers: Fields, name: str) -> list[str]:
    """Return the members of a comma-separated field, in lower case, empty ones left out (RFC 9110 §5.6.1)."""
    joined = ",".join(values(headers, name))
    return [member.strip(" \t").lower() for member in joined.split(",") if member.strip(" \t")]


def framing(minor: int, headers: Fields) -> Framing:
    """Return how the body is delimited (RFC 9112 §6).

    Raises:
        ProtocolError: 400 where two readers could disagree, 501 for a coding that is not spoken here.
    """
    lengths = values(headers, "content-length")
    if not any(name == "transfer-encoding" for name, _ in headers):
        if not lengths:
            return Framing(None, False)
        if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
            raise ProtocolError(f"bad Content-Length {', '.join(lengths)[:80]!r}", 400)
        return Framing(int(lengths[0]), False)
    if lengths:
        raise ProtocolError("both Content-Length and Transfer-Encoding", 400)
    if minor == 0:
        raise ProtocolError("Transfer-Encoding in HTTP/1.0", 400)
    codings = members(headers, "transfer-encoding")
    if codings == ["chunked"]:
        return Framing(None, True)
    if codings.count("chunked") != 1 or codings[-1] != "chunked":
        raise ProtocolError(f"bad Transfer-Encoding {codings!r}", 400)
    raise ProtocolError(f"transfer coding {codings[0][:80]!r} is not spoken here", 501)


def stays_open(minor: int, headers: Fields) -> bool:
    """Tell whether the connection persists after this message (RFC 9112 §9.3)."""
    options = members(headers, "connection")
    return "close" not in options and (minor >= 1 or "keep-alive" in options)


def _check_target(method: str, target: str) -> None:
    """Hold the target to the four forms of RFC 9112 §3.2."""
    if target.startswith("/") and method != "CONNECT":
        return
    if method == "CONNECT":
        fine = (
            target[0] not in "/:"
            and _HOST.fullmatch(target) is not None
            and target.rpartition(":")[2].isdigit()
        )
    elif target == "*":
        fine = method == "OPTIONS"
    else:
        scheme, found, rest = target.partition("://")
        fine = bool(found) and scheme.lower() in ("http", "https") and rest[:1] not in ("", "/", "?", "#")
    if not fine:
        raise ProtocolError(f"bad target {target[:80]!r} for {method}", 400)


def _check_host(minor: int, headers: Fields) -> None:
    """Hold HTTP/1.1 to exactly one well-formed Host (RFC 9112 §3.2)."""
    hosts = values(headers, "host")
    if len(hosts) > 1 or (minor >= 1 and not hosts):
        raise ProtocolError(f"{len(hosts)} Host fields; HTTP/1.1 asks for exactly one", 400)
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise ProtocolError(f"bad Host {hosts[0][:80]!r}", 400)
