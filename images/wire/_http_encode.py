"""Requests and responses of HTTP/1.1 as bytes (RFC 9110, RFC 9112)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

from wire._cache import store

SERVER_NAME = "io-model-lab"


def request(
    method: str, target: str, host: str, *, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()
) -> bytes:
    """Encode a request; Content-Length is sent with a body and with POST, PUT and PATCH."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def response(
    status: int,
    body: bytes,
    content_type: str = "text/plain",
    *,
    keep_alive: bool = True,
    head_only: bool = False,
    minor: int = 1,
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Encode a response with Server, Date, Content-Type and Content-Length.

    `head_only` answers HEAD: all fields, no body. `minor` is that of the request: an HTTP/1.0 client needs an
    explicit ``Connection: keep-alive``.
    """
    head = response_head(status, len(body), content_type, keep_alive=keep_alive, minor=minor, headers=headers)
    return head if head_only else head + body


_head_cache: dict[tuple[object, ...], bytes] = {}
_head_cache_second = 0


def response_head(
    status: int,
    length: int,
    content_type: str = "text/plain",
    *,
    keep_alive: bool = True,
    minor: int = 1,
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Encode the head of a response; the caller sends the body of `length` bytes.

    Date has a resolution of one second (RFC 9110 §5.6.7), so heads are cached until the second changes.
    """
    global _head_cache_second
    second = int(time.time())
    if second != _head_cache_second:
        _head_cache.clear()
        _head_cache_second = second
    key = (status, length, content_type, keep_alive, minor, headers)
    head = _head_cache.get(key)
    if head is None:
        head = _make_head(status, length, content_type, keep_alive, minor, headers, second)
        store(_head_cache, key, head)
    return head


def _make_head(
    status: int,
    length: int,
    content_type: str,
    keep_alive: bool,
    minor: int,
    headers: Sequence[tuple[str, str]],
    second: int,
) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Server: {SERVER_NAME}",
        f"Date: {formatdate(second, usegmt=True)}",
        f"Content-Type: {content_type}",
        f"Content-Length: {length}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    if not keep_alive:
        lines.append("Connection: close")
    elif minor == 0:
        lines.append("Connection: keep-alive")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
