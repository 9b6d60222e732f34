"""POSIX asynchronous I/O (aio(7)) as the GNU C library does it: its own threads make blocking calls."""

from __future__ import annotations

import ctypes
import errno
import os

from iomodels.native import Missing, checked, libc

_SIGEV_SIGNAL = 0


class _Sigevent(ctypes.Structure):
    _fields_ = [
        ("value", ctypes.c_long),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("_pad", ctypes.c_char * 48),
    ]


class _Aiocb(ctypes.Structure):
    """``struct aiocb`` of 64-bit glibc; what is underlined is the library's own."""

    _fields_ = [
        ("fd", ctypes.c_int),
        ("opcode", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("event", _Sigevent),
        ("_next", ctypes.c_void_p),
        ("_abs_priority", ctypes.c_int),
        ("_policy", ctypes.c_int),
        ("_error", ctypes.c_int),
        ("_result", ctypes.c_ssize_t),
        ("offset", ctypes.c_long),
        ("_reserved", ctypes.c_char * 32),
    ]


class _Aioinit(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int)
        for name in ("threads", "requests", "locks", "usedba", "debug", "users", "idle_s", "reserved")
    ]


def require() -> None:
    """Check that the C library has what is needed.

    Raises:
        Missing: it is not glibc.
    """
    if not hasattr(libc, "aio_init") or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise Missing("POSIX aio as 64-bit glibc has it (aio_read, aio_init)")


def use_threads(most: int) -> None:
    """Let the library start that many threads (aio_init(3)), before the first request; it would take 20."""
    libc.aio_init(ctypes.byref(_Aioinit(threads=most, requests=most, idle_s=1)))


class Operation:
    """One read or write at a time on a descriptor; at its end a signal brings the descriptor's number.

    The kernel of the matter is the buffer: it belongs to the library from `read` or `write` until `result`.
    """

    __slots__ = ("_block", "_buffer", "_source")

    def __init__(self, fd: int, signal_number: int, read_bytes: int) -> None:
        self._buffer = ctypes.create_string_buffer(read_bytes)
        self._source: bytes | None = None
        self._block = _Aiocb(fd=fd)
        self._block.event.value = fd
        self._block.event.signal = signal_number
        self._block.event.notify = _SIGEV_SIGNAL

    def read(self) -> None:
        """Begin to read (aio_read(3)); returns at once, data or not."""
        self._source = None
        self._block.buffer = ctypes.addressof(self._buffer)
        self._block.length = len(self._buffer)
        checked(libc.aio_read(ctypes.byref(self._block)))

    def write(self, data: bytes) -> None:
        """Begin to write (aio_write(3)); `data` is kept alive here."""
        self._source = data
        self._block.buffer = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        self._block.length = len(data)
        checked(libc.aio_write(ctypes.byref(self._block)))

    def ended(self) -> bool:
        """Tell whether the last read or write has ended; its result stays to be taken (aio_error(3))."""
        code: int = libc.aio_error(ctypes.byref(self._block))
        return code != errno.EINPROGRESS

    def result(self) -> int | None:
        """Return the number of bytes, once (aio_error(3), aio_return(3)); None while it is in progress.

        Raises:
            OSError: what the read or write said.
        """
        code = libc.aio_error(ctypes.byref(self._block))
        if code == errno.EINPROGRESS:
            return None
        count: int = libc.aio_return(ctypes.byref(self._block))
        if code:
            raise OSError(code, os.strerror(code))
        return count

    def data(self, count: int) -> bytes:
        """Return the first bytes of what was read."""
        return ctypes.string_at(self._buffer, count)


libc.aio_read.argtypes = libc.aio_write.argtypes = libc.aio_error.argtypes = [ctypes.c_void_p]
libc.aio_return.argtypes = [ctypes.c_void_p]
libc.aio_return.restype = ctypes.c_ssize_t
