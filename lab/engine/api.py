"""Calls to the Docker engine, each with a deadline and an error that a person can act on.

docker-py's timeout bounds one read, not one call, and a busy engine may well take ten seconds to start a
container while a hung one never will. So a call that takes long is told from an engine that hangs by asking
for a sign of life on another connection: without one the call fails within `PATIENCE_S` + `PING_S`.
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

PATIENCE_S = 1.8
PING_S = 2.2
POLL_S = 0.2
CALL_S = 60.0

BROKEN = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
)
# What the engine, or the runtime below it, says when the host is the reason.
HOST_SAYS = re.compile(
    r"rlimit|sysctl|[Ss]eccomp|not available|[Mm]inimum memory|cgroup|exceeds|storage|no space|not permitted"
)


class BrokeOff(NoMeasurement):
    """One call came to no proper end."""


class EngineLost(NoMeasurement):
    """The engine gives no sign of life: there is no use in asking it again."""


class Engine:
    """An engine through docker-py's low-level client, with deadlines."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self._lost = threading.Event()  # seen by one thread, known to all that wait
        self._asking = threading.Lock()  # one asks for a sign at a time: who asked later would know later

    def call(
        self,
        what: str,
        function: Callable[..., T],
        *args: Any,
        deadline_s: float = CALL_S,
        allow: Collection[int] = (),
        **kwargs: Any,
    ) -> T:
        """Do `function(*args, **kwargs)`, an engine call that `what` names ("start server"), in `deadline_s`.

        Raises docker-py's APIError for the status codes in `allow`, which the caller knows what to do about;
        HostCannot where the engine says that the host cannot, EngineLost without a sign of life, else
        NoMeasurement.
        """
        if self._lost.is_set() and not self.ping():
            raise EngineLost(f"the Docker engine still gives no sign of life: it was not asked to {what}")
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
            error = translated(what, failure[0], allow)
            if isinstance(error, BrokeOff) and not self.ping():
                self._lost.set()
                error = EngineLost(f"the Docker engine is gone: no answer to '{what}', nor to a ping")
            raise error from failure[0]
        return answer[0]

    def _wait(self, thread: threading.Thread, what: str, deadline_s: float) -> None:
        began = asked = time.monotonic()
        thread.join(POLL_S)
        while thread.is_alive():
            now = time.monotonic()
            if now - asked > PATIENCE_S and not self._lost.is_set() and self._asking.acquire(blocking=False):
                try:
                    if not self.ping():
                        self._lost.set()
                finally:
                    self._asking.release()
                asked = now
            if self._lost.is_set() and thread.is_alive():
                raise EngineLost(f"the Docker engine hangs: no answer to '{what}', nor to a ping")
            if now - began > deadline_s:
                raise NoMeasurement(f"the Docker engine did not {what} within {deadline_s:g} s")
            thread.join(POLL_S)

    def ping(self) -> bool:
        """Whether the engine answers a ping at once, on a connection of its own."""
        try:
            with self.api.get(f"{self.api.base_url}/_ping", timeout=PING_S) as response:
                return bool(response.status_code == 200)
        except (requests.exceptions.RequestException, OSError):
            return False


def address(api: Any) -> str:
    """Where the engine is, as docker-py's `base_url` and DOCKER_HOST name it."""
    adapter = getattr(api, "_custom_adapter", None)
    path = getattr(adapter, "socket_path", None)
    return f"unix://{path}" if path else str(api.base_url)


def translated(what: str, error: BaseException, allow: Collection[int] = ()) -> BaseException:
    """The error to raise for what an engine call raised."""
    same: BaseException = error
    if isinstance(error, docker.errors.APIError):
        if error.status_code in allow:
            return same
        says = one_line(str(error.explanation or error))
        kind: type[LabError] = HostCannot if HOST_SAYS.search(says) else NoMeasurement
        return kind(f"the Docker engine refuses to {what}: {says}")
    if isinstance(error, (*BROKEN, docker.errors.DockerException)):
        return BrokeOff(f"the Docker engine broke off while asked to {what}: {one_line(str(error))}")
    return same


def one_line(text: str) -> str:
    """A message without line breaks, at most 300 characters."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "…"


class Stream:
    """The output of a container or an exec: frames of (stream number, bytes) from a hijacked connection.

    It reads through the connection's buffer. docker-py's own reader takes the raw socket below it and loses
    what arrived together with the response's head: short outputs then come back empty, now and then.
    """

    def __init__(self, hijacked: Any) -> None:
        self._response = hijacked._response
        self._buffer = self._response.raw._fp.fp
        self._socket = hijacked._sock

    def frames(self, until_s: float | None = None) -> Iterator[tuple[int, bytes]]:
        """Frames until the end of the stream. TimeoutError at `until_s` of time.monotonic()."""
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
                raise BrokeOff(f"the Docker engine broke off a node's output: {error}") from error
            if not part:
                if data:
                    raise BrokeOff("the Docker engine broke off in the middle of a node's output")
                return b""
            data += part
        return data

    def _set_timeout(self, until_s: float | None) -> None:
        left = None if until_s is None else until_s - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def close(self) -> None:
        """Drop the connection; a thread that reads from it sees its end."""
        with contextlib.suppress(OSError):  # the engine may have closed it first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._response.close()
        self._buffer.close()
        self._socket.close()
