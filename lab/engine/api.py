"""Calls to the Docker engine, each with a deadline and an error that a person can act on.

docker-py's timeout bounds one read, not one call. A busy engine may take ten seconds to start a container; an
engine that hangs never does. To tell the two apart, a call that takes longer than `PING_AFTER_S` pings the
engine on another connection. Without an answer the call fails within `PING_AFTER_S` + `PING_S`.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

import docker.errors
import requests
import urllib3.exceptions

from lab.common.errors import HostCannot, LabError, NoMeasurement

T = TypeVar("T")

PING_AFTER_S = 1.8
PING_S = 2.2
POLL_S = 0.2
CALL_S = 60.0

CONNECTION_ERRORS = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
)
# Words of the engine, or of the runtime below it, when the host is the reason.
HOST_LIMIT = re.compile(
    r"rlimit|sysctl|[Ss]eccomp|not available|[Mm]inimum memory|cgroup|exceeds|storage|no space|not permitted"
)


class ConnectionBroken(NoMeasurement):
    """The connection broke during a call."""


class EngineLost(NoMeasurement):
    """The engine does not answer a ping: further calls are useless."""


class Engine:
    """An engine, called through docker-py's low-level client, with deadlines."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self._lost = threading.Event()  # set by one thread, read by all that wait
        self._ping_lock = threading.Lock()  # one ping at a time: a later one would answer later

    def call(
        self,
        what: str,
        function: Callable[..., T],
        *args: Any,
        deadline_s: float = CALL_S,
        allow: Collection[int] = (),
        **kwargs: Any,
    ) -> T:
        """Call `function(*args, **kwargs)` within `deadline_s`; `what` names it, such as "start server".

        Raises:
            docker.errors.APIError: The status code is in `allow`: the caller handles it.
            HostCannot: The engine says that the host is the reason.
            EngineLost: The engine does not answer a ping.
            NoMeasurement: Everything else.
        """
        if self._lost.is_set() and not self.ping():
            raise EngineLost(f"the Docker engine still does not answer a ping, so it was not asked to {what}")
        self._lost.clear()
        answer: list[T] = []
        failure: list[BaseException] = []

        def work() -> None:
            try:
                answer.append(function(*args, **kwargs))
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=work, name=f"engine: {what}", daemon=True)
        thread.start()
        self._wait(thread, what, deadline_s)
        if failure:
            error = to_lab_error(what, failure[0], allow)
            if isinstance(error, ConnectionBroken) and not self.ping():
                self._lost.set()
                error = EngineLost(f"the Docker engine is gone: it answers neither '{what}' nor a ping")
            raise error from failure[0]
        return answer[0]

    def _wait(self, thread: threading.Thread, what: str, deadline_s: float) -> None:
        began = pinged = time.monotonic()
        thread.join(POLL_S)
        while thread.is_alive():
            now = time.monotonic()
            if now - pinged > PING_AFTER_S and not self._lost.is_set() and self._try_ping():
                pinged = now
            if self._lost.is_set() and thread.is_alive():
                raise EngineLost(f"the Docker engine hangs: it answers neither '{what}' nor a ping")
            if now - began > deadline_s:
                raise NoMeasurement(f"the Docker engine did not {what} within {deadline_s:g} s")
            thread.join(POLL_S)

    def _try_ping(self) -> bool:
        """Ping and note whether the engine is lost; return False where another thread is doing it now."""
        if not self._ping_lock.acquire(blocking=False):
            return False
        try:
            if not self.ping():
                self._lost.set()
        finally:
            self._ping_lock.release()
        return True

    def ping(self) -> bool:
        """Return whether the engine answers a ping within `PING_S`, on a connection of its own."""
        try:
            with self.api.get(f"{self.api.base_url}/_ping", timeout=PING_S) as response:
                return bool(response.status_code == 200)
        except (requests.exceptions.RequestException, OSError):
            return False


def address(api: Any) -> str:
    """Return the engine's address in the form of DOCKER_HOST and docker-py's `base_url`."""
    adapter = getattr(api, "_custom_adapter", None)
    path = getattr(adapter, "socket_path", None)
    return f"unix://{path}" if path else str(api.base_url)


def to_lab_error(what: str, error: BaseException, allow: Collection[int] = ()) -> BaseException:
    """Return the error to raise for what an engine call raised."""
    same: BaseException = error
    if isinstance(error, docker.errors.APIError):
        if error.status_code in allow:
            return same
        says = one_line(str(error.explanation or error))
        kind: type[LabError] = HostCannot if HOST_LIMIT.search(says) else NoMeasurement
        return kind(f"the Docker engine refuses to {what}: {says}")
    if isinstance(error, (*CONNECTION_ERRORS, docker.errors.DockerException)):
        return ConnectionBroken(
            f"the connection to the Docker engine broke during '{what}': {one_line(str(error))}"
        )
    return same


def one_line(text: str) -> str:
    """Return a message without line breaks, at most 300 characters."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "…"


class OutputStream:
    """The output of a container or an exec: frames of (stream number, bytes) from a hijacked connection.

    It reads through the connection's buffer. docker-py's own reader takes the raw socket below the buffer and
    loses what arrived together with the response's head: short outputs are then sometimes empty.
    """

    def __init__(self, hijacked: Any) -> None:
        self._response = hijacked._response
        self._buffer = self._response.raw._fp.fp
        self._socket = hijacked._sock

    def frames(self, until_s: float | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield frames until the end of the stream. Raises TimeoutError at `until_s` of time.monotonic()."""
        while head := self._read(8, until_s):
            number, length = struct.unpack(">BxxxL", head)
            yield number, self._read(length, until_s)

    def _read(self, size: int, until_s: float | None) -> bytes:
        data = b""
        while len(data) < size:
            self._set_timeout(until_s)
            try:
                part = self._buffer.read1(size - len(data))
            except TimeoutError:
                raise
            except (OSError, ValueError) as error:  # ValueError: it was closed by another thread
                raise ConnectionBroken(f"the Docker engine cut off a node's output: {error}") from error
            if not part:
                if data:
                    raise ConnectionBroken("the Docker engine cut off a node's output inside a frame")
                return b""
            data += part
        return data

    def _set_timeout(self, until_s: float | None) -> None:
        left = None if until_s is None else until_s - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def close(self) -> None:
        """Close the connection; a thread that reads from it sees the end of the stream."""
        with contextlib.suppress(OSError):  # the engine may have closed it first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._response.close()
        self._buffer.close()
        self._socket.close()
