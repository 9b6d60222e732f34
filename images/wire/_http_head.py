"""Heads of HTTP/1.1 messages: syntax and body framing (RFC 9110, RFC 9112).

Request smuggling needs two parsers that read the same bytes differently (RFC 9112 §11.2). So this parser is
strict where RFC 9112 lets a recipient be lenient. Refused are:

* a line that does not end in CRLF, a folded line, white space before a colon;
* more than one Content-Length, or Content-Length together with Transfer-Encoding;
* a transfer coding other than exactly ``chunked``.
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
    """Request line and fields, names in lower case; `minor` is the minor version of HTTP/1.x, 0 or 1."""

    method: str
    target: str
    minor: int
    headers: Fields


class ResponseHead(NamedTuple):
    """Status line and fields, names in lower case."""

    status: int
    reason: str
    minor: int
    headers: Fields


class Framing(NamedTuple):
    """Body framing: `length` bytes, or `chunked`; neither when the head has no framing field."""

    length: int | None
    chunked: bool


def take_head(buffer: bytearray, scanned: int) -> tuple[str | None, int]:
    """Remove a complete head from the front of `buffer`; bytes before `scanned` are not searched again.

    Returns:
        The head without its empty line and 0; or None and the number of bytes searched so far.

    Raises:
        ProtocolError: 400 a bare LF, 414 or 431 too long; found before the head is complete.
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
        ProtocolError: 400 bad syntax, 431 more than `MAX_FIELDS` fields.
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
    """Parse a request head and check its syntax, version, method, target and Host.

    Raises:
        ProtocolError: 400 bad syntax, 431 too many fields, 501 unknown method, 505 unsupported version.
    """
    first, *lines = head.split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or _TOKEN.fullmatch(parts[0]) is None or _TARGET.fullmatch(parts[1]) is None:
        raise ProtocolError(f"bad request line {first[:80]!r}", 400)
    method, target, version = parts
    if (match := _VERSION.fullmatch(version)) is None:
        raise ProtocolError(f"bad version {version[:80]!r}", 400)
    if match[1] != "1":
        raise ProtocolError(f"unsupported version {version}", 505)
    headers = parse_fields(lines)
    minor = min(int(match[2]), 1)
    if method not in METHODS:
        raise ProtocolError(f"unknown method {method[:80]!r}", 501)
    _check_target(method, target)
    _check_host(minor, headers)
    return RequestHead(method, target, minor, headers)


def parse_response_head(head: str) -> ResponseHead:
    """Parse a response head.

    Raises:
        ProtocolError: Bad syntax. The caller sets `status` to 0: a client sends no status.
    """
    first, *lines = head.split("\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise ProtocolError(f"bad status line {first[:80]!r}")
    return ResponseHead(int(match[2]), match[3] or "", min(int(match[1]), 1), parse_fields(lines))


def field_values(headers: Fields, name: str) -> list[str]:
    """Return the values of all fields called `name` (lower case), in order."""
    return [value for key, value in headers if key == name]


def list_members(headers: Fields, name: str) -> list[str]:
    """Return the members of a comma-separated field in lower case, without empty ones (RFC 9110 §5.6.1)."""
    combined = ",".join(field_values(headers, name))
    return [member.strip(" \t").lower() for member in combined.split(",") if member.strip(" \t")]


def body_framing(minor: int, headers: Fields) -> Framing:
    """Return the framing of the body (RFC 9112 §6).

    Raises:
        ProtocolError: 400 ambiguous framing, 501 a transfer coding other than ``chunked``.
    """
    lengths = field_values(headers, "content-length")
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
    codings = list_members(headers, "transfer-encoding")
    if codings == ["chunked"]:
        return Framing(None, True)
    if codings.count("chunked") != 1 or codings[-1] != "chunked":
        raise ProtocolError(f"bad Transfer-Encoding {codings!r}", 400)
    raise ProtocolError(f"unsupported transfer coding {codings[0][:80]!r}", 501)


def is_persistent(minor: int, headers: Fields) -> bool:
    """Return whether the connection persists after this message (RFC 9112 §9.3)."""
    options = list_members(headers, "connection")
    return "close" not in options and (minor >= 1 or "keep-alive" in options)


def _check_target(method: str, target: str) -> None:
    """Check that the target has one of the four forms of RFC 9112 §3.2."""
    if target.startswith("/") and method != "CONNECT":
        return
    if method == "CONNECT":
        valid = (
            target[0] not in "/:"
            and _HOST.fullmatch(target) is not None
            and target.rpartition(":")[2].isdigit()
        )
    elif target == "*":
        valid = method == "OPTIONS"
    else:
        scheme, separator, rest = target.partition("://")
        valid = (
            bool(separator) and scheme.lower() in ("http", "https") and rest[:1] not in ("", "/", "?", "#")
        )
    if not valid:
        raise ProtocolError(f"bad target {target[:80]!r} for {method}", 400)


def _check_host(minor: int, headers: Fields) -> None:
    """Check that HTTP/1.1 has exactly one valid Host (RFC 9112 §3.2)."""
    hosts = field_values(headers, "host")
    if len(hosts) > 1 or (minor >= 1 and not hosts):
        raise ProtocolError(f"{len(hosts)} Host fields; HTTP/1.1 requires exactly one", 400)
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise ProtocolError(f"bad Host {hosts[0][:80]!r}", 400)
