"""POSIX asynchronous I/O (aio(7)) of the GNU C library, whose own threads make blocking calls."""

from __future__ import annotations

import ctypes
import errno
import os

from iomodels.native import MissingFeature, checked, libc

_SIGEV_SIGNAL = 0


class _Sigevent(ctypes.Structure):
    _fields_ = [
        ("value", ctypes.c_long),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("_pad", ctypes.c_char * 48),
    ]


class _Aiocb(ctypes.Structure):
    """``struct aiocb`` of 64-bit glibc; the fields with an underscore are internal to the library."""

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
    """Check that the C library has the functions.

    Raises:
        MissingFeature: it is not 64-bit glibc.
    """
    if not hasattr(libc, "aio_init") or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise MissingFeature("the POSIX aio of 64-bit glibc (aio_read, aio_init) is missing")


def set_max_threads(count: int) -> None:
    """Set how many threads the library may start (aio_init(3)), before the first request; default 20."""
    libc.aio_init(ctypes.byref(_Aioinit(threads=count, requests=count, idle_s=1)))


class Operation:
    """One read or write at a time on a descriptor; its completion raises a signal with the descriptor.

    The buffer belongs to the library from `read` or `write` until `result`: do not free it, do not touch it.
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
        """Start a read (aio_read(3)); return at once, with or without data."""
        self._source = None
        self._block.buffer = ctypes.addressof(self._buffer)
        self._block.length = len(self._buffer)
        checked(libc.aio_read(ctypes.byref(self._block)))

    def write(self, data: bytes) -> None:
        """Start a write (aio_write(3)); keep `data` alive until the next operation."""
        self._source = data
        self._block.buffer = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        self._block.length = len(data)
        checked(libc.aio_write(ctypes.byref(self._block)))

    def is_done(self) -> bool:
        """Return whether the last read or write has completed (aio_error(3)); `result` is still due."""
        code: int = libc.aio_error(ctypes.byref(self._block))
        return code != errno.EINPROGRESS

    def result(self) -> int | None:
        """Return the number of bytes, or None while in progress (aio_error(3)); only once (aio_return(3)).

        Raises:
            OSError: the error of the read or write.
        """
        code = libc.aio_error(ctypes.byref(self._block))
        if code == errno.EINPROGRESS:
            return None
        count: int = libc.aio_return(ctypes.byref(self._block))
        if code:
            raise OSError(code, os.strerror(code))
        return count

    def data(self, count: int) -> bytes:
        """Return the first `count` bytes of the read buffer."""
        return ctypes.string_at(self._buffer, count)


libc.aio_read.argtypes = libc.aio_write.argtypes = libc.aio_error.argtypes = [ctypes.c_void_p]
libc.aio_return.argtypes = [ctypes.c_void_p]
libc.aio_return.restype = ctypes.c_ssize_t
