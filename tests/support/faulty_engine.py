"""A proxy in front of the engine's socket that spoils one call: hangs, resets, refuses, tears the answer."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

BUFFER = 65536
STATUS = {404: "Not Found", 409: "Conflict", 500: "Internal Server Error"}
FAULTS = ("hang", "reset", "absent", "torn", "short", "404", "409", "500")


class FaultyEngine:
    """Listens at `path`, passes calls on to `engine`, and does `fault` to the `number`-th call (from 1)."""

    def __init__(self, path: Path, engine: str, fault: str = "", number: int = 0) -> None:
        self.url = f"unix://{path}"
        self.calls: list[str] = []
        self.struck_at: float | None = None
        self._engine = engine.removeprefix("unix://")
        self._fault, self._number = fault, number
        self._lock = threading.Lock()
        self._hanging = threading.Event()
        self._open: list[socket.socket] = []
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, name="faulty engine", daemon=True).start()

    def close(self) -> None:
        """Drop everything."""
        with self._lock:
            for one in [self._listener, *self._open]:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            with self._lock:
                self._open.append(client)
            threading.Thread(
                target=self._serve, args=(client,), name="faulty connection", daemon=True
            ).start()

    def _serve(self, client: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        with self._lock:
            self._open.append(engine)
        try:
            engine.connect(self._engine)
            back = threading.Thread(
                target=self._copy, args=(engine, client), name="faulty answers", daemon=True
            )
            back.start()
            while head := _head(client):
                if self._strikes(head, client):
                    return
                engine.sendall(head + _body(client, head))
            with contextlib.suppress(OSError):
                engine.shutdown(socket.SHUT_WR)
            back.join()
        except OSError:
            return  # either side is gone
        finally:
            if not self._hanging.is_set():
                client.close()
            engine.close()

    def _copy(self, engine: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := engine.recv(BUFFER):
                if self._hanging.is_set():
                    return
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    def _strikes(self, head: bytes, client: socket.socket) -> bool:
        """Count the call; spoil it if its turn has come. True: the connection is done with."""
        with self._lock:
            self.calls.append(head.split(b"\r\n", 1)[0].decode())
            struck = len(self.calls) == self._number
        if self._hanging.is_set():
            return True
        if not struck:
            return False
        self.struck_at = time.monotonic()
        if self._fault == "hang":
            self._hanging.set()
        elif self._fault == "absent":
            self._path.unlink()
            self._listener.close()
        elif self._fault in ("torn", "short"):
            # a body that is whole but no JSON; a body that ends before its announced length
            length = 7 if self._fault == "torn" else 700
            client.sendall(_answer(200, "OK", b'{"Id":"', length))
        elif self._fault.isdigit():
            code = int(self._fault)
            client.sendall(_answer(code, STATUS[code], b'{"message":"an injected fault"}'))
        return True


def _answer(code: int, reason: str, body: bytes, length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {code} {reason}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def _head(client: socket.socket) -> bytes:
    """A request's head, or nothing at its end. Bytewise: the body must stay where it is."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        part = client.recv(1)
        if not part:
            return b""
        data += part
    return data


def _body(client: socket.socket, head: bytes) -> bytes:
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    data = b""
    while len(data) < length:
        part = client.recv(min(BUFFER, length - len(data)))
        if not part:
            break
        data += part
    return data
