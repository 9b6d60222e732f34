"""io_uring (io_uring(7)) by its three system calls, with multishot accept and receive and provided buffers.

Two queues are shared with the kernel. We write requests (SQE, 64 bytes) and advance the tail of the first;
the kernel writes completions (CQE, 16 bytes) and advances the tail of the second. io_uring_enter(2) submits
any number of requests and waits for completions in one call. The kernel reads no request before that call,
and we read no completion before it has returned: so no memory barrier is needed but the system call.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct

from iomodels.native import MissingFeature, libc

_SETUP, _ENTER, _REGISTER = 425, 426, 427  # the same numbers on every architecture
_CQSIZE, _SUBMIT_ALL, _COOP_TASKRUN, _SINGLE_ISSUER, _DEFER_TASKRUN = 1 << 3, 1 << 7, 1 << 8, 1 << 12, 1 << 13
_SINGLE_MMAP, _EXT_ARG_FEATURE = 1 << 0, 1 << 8
_GETEVENTS, _EXT_ARG = 1 << 0, 1 << 3
_SQES_OFFSET = 0x10000000
_REGISTER_PBUF_RING = 22
_ACCEPT, _CANCEL, _SEND, _RECV = 13, 14, 26, 27
_ACCEPT_MULTISHOT, _RECV_MULTISHOT = 1 << 0, 1 << 1
_BUFFER_SELECT = 1 << 5
_SOCK_CLOEXEC, _MSG_NOSIGNAL = 0o2000000, 0x4000
_SQE = struct.Struct("=BBHiQQIIQHHiQQ")  # opcode flags ioprio fd off addr len op_flags user_data group …
_CQE = struct.Struct("=QiI")
_BUFFER = struct.Struct("=QIH")
_BYTES_HEADER = bytes.__basicsize__ - 1  # CPython: offset of the data in a bytes object

BUFFER, MORE = 1 << 0, 1 << 1  # flags of a completion: it has a buffer; its request stays active


class _Params(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_uint32)
            for name in ("sq_entries", "cq_entries", "flags", "cpu", "idle", "features", "wq")
        ),
        ("reserved", ctypes.c_uint32 * 3),
        ("sq", ctypes.c_uint32 * 10),  # head tail mask entries flags dropped array …
        ("cq", ctypes.c_uint32 * 10),  # head tail mask entries overflow cqes …
    ]


_syscall = libc["syscall"]
_syscall.argtypes = [ctypes.c_long] * 7
_syscall.restype = ctypes.c_long


class Ring:
    """A submission and a completion queue, and a pool of receive buffers from which the kernel picks.

    A tag is a whole number chosen by the caller (`user_data`); each completion has the tag of its request.
    """

    def __init__(self, entries: int, completions: int, buffers: int, buffer_bytes: int) -> None:
        params, self._fd = _set_up(entries, completions)
        self._entries = params.sq_entries
        length = max(params.sq[6] + params.sq_entries * 4, params.cq[5] + params.cq_entries * _CQE.size)
        self._rings = mmap.mmap(self._fd, length)
        self._sqes = mmap.mmap(self._fd, params.sq_entries * _SQE.size, offset=_SQES_OFFSET)
        self._words = memoryview(self._rings).cast("I")
        self._sq_tail_at, self._sq_mask = params.sq[1] // 4, self._words[params.sq[2] // 4]
        self._cq_head_at, self._cq_tail_at = params.cq[0] // 4, params.cq[1] // 4
        self._cq_mask, self._cqes_at = self._words[params.cq[2] // 4], params.cq[5]
        for index in range(params.sq_entries):  # the index array is not used: entry n is request n
            self._words[params.sq[6] // 4 + index] = index
        self._tail = self._submitted = 0
        self._provide(buffers, buffer_bytes)
        self._timeout = (ctypes.c_int64 * 2)()
        self._argument = (ctypes.c_uint64 * 3)(0, 0, ctypes.addressof(self._timeout))

    def _provide(self, count: int, each_bytes: int) -> None:
        """Register `count` buffers (a power of two) as group 0 (IORING_REGISTER_PBUF_RING)."""
        self._each_bytes, self._buffer_mask = each_bytes, count - 1
        self._pool = mmap.mmap(-1, count * each_bytes)
        self._pool_address = ctypes.addressof(ctypes.c_char.from_buffer(self._pool))
        self._buffers = mmap.mmap(-1, count * 16)
        self._buffer_tail = 0
        registration = struct.pack("=QIHH3Q", _address(self._buffers), count, 0, 0, 0, 0, 0)
        held = ctypes.create_string_buffer(registration, len(registration))
        if _syscall(_REGISTER, self._fd, _REGISTER_PBUF_RING, ctypes.addressof(held), 1, 0, 0) == -1:
            raise MissingFeature(
                f"no provided buffer rings, which need Linux 5.19 ({os.strerror(ctypes.get_errno())})"
            )
        for number in range(count):
            self._return_buffer(number)

    def _return_buffer(self, number: int) -> None:
        at = (self._buffer_tail & self._buffer_mask) * 16
        address = self._pool_address + number * self._each_bytes
        _BUFFER.pack_into(self._buffers, at, address, self._each_bytes, number)
        self._buffer_tail += 1
        # The tail is in the first entry of the ring.
        struct.pack_into("=H", self._buffers, 14, self._buffer_tail & 0xFFFF)

    def accept(self, fd: int, tag: int) -> None:
        """Accept all connections (multishot): a completion each, with the descriptor as its result."""
        self._prepare(_ACCEPT, 0, _ACCEPT_MULTISHOT, fd, 0, 0, 0, _SOCK_CLOEXEC, tag)

    def receive(self, fd: int, tag: int) -> None:
        """Receive all data (multishot): a completion each, with a buffer of the pool."""
        self._prepare(_RECV, _BUFFER_SELECT, _RECV_MULTISHOT, fd, 0, 0, 0, 0, tag)

    def send(self, fd: int, data: bytes, offset: int, tag: int) -> None:
        """Send `data` from `offset`. The caller keeps `data` alive until the completion."""
        address = id(data) + _BYTES_HEADER + offset
        self._prepare(_SEND, 0, 0, fd, 0, address, len(data) - offset, _MSG_NOSIGNAL, tag)

    def cancel(self, request_tag: int, tag: int) -> None:
        """Cancel the request with that tag; it completes with ECANCELED."""
        self._prepare(_CANCEL, 0, 0, -1, 0, request_tag, 0, 0, tag)

    def _prepare(
        self,
        code: int,
        flags: int,
        priority: int,
        fd: int,
        off: int,
        address: int,
        length: int,
        op_flags: int,
        tag: int,
    ) -> None:
        if self._tail - self._submitted == self._entries:
            self._enter(0)
        at = (self._tail & self._sq_mask) * _SQE.size
        _SQE.pack_into(
            self._sqes, at, code, flags, priority, fd, off, address, length, op_flags, tag, 0, 0, 0, 0, 0
        )
        self._tail += 1
        self._words[self._sq_tail_at] = self._tail & 0xFFFFFFFF

    def wait(self, timeout_s: float | None) -> list[tuple[int, int, int]]:
        """Submit the prepared requests, wait for a completion, and return all as (tag, result, flags).

        The list is empty after a timeout, or when a signal handler has run.
        """
        head, tail = self._words[self._cq_head_at], self._words[self._cq_tail_at]
        if head == tail or self._tail != self._submitted:
            self._enter(int(head == tail), timeout_s)
            tail = self._words[self._cq_tail_at]
        found = []
        while head != tail:
            found.append(_CQE.unpack_from(self._rings, self._cqes_at + (head & self._cq_mask) * _CQE.size))
            head = (head + 1) & 0xFFFFFFFF
        self._words[self._cq_head_at] = head
        return found

    def take_buffer(self, result: int, flags: int) -> bytes:
        """Return the bytes of a receive, and give its buffer back to the kernel."""
        number = flags >> 16
        start = number * self._each_bytes
        data = self._pool[start : start + result]
        self._return_buffer(number)
        return data

    def _enter(self, min_complete: int, timeout_s: float | None = None) -> None:
        flags, argument, size = _GETEVENTS, 0, 0
        if timeout_s is not None:
            self._timeout[0] = int(timeout_s)
            self._timeout[1] = int((timeout_s - int(timeout_s)) * 1e9)
            flags, argument, size = _GETEVENTS | _EXT_ARG, ctypes.addressof(self._argument), 24
        count = _syscall(_ENTER, self._fd, self._tail - self._submitted, min_complete, flags, argument, size)
        if count >= 0:
            self._submitted += count
            return
        code = ctypes.get_errno()
        if code not in (errno.EINTR, errno.ETIME, errno.EAGAIN, errno.EBUSY):
            raise OSError(code, os.strerror(code))

    def close(self) -> None:
        """Close the ring; the kernel cancels what is in flight. Its memory goes with the last reference."""
        os.close(self._fd)


def _set_up(entries: int, completions: int) -> tuple[_Params, int]:
    """Return a new ring, where possible one that processes completions only in our wait (Linux 6.1).

    Raises:
        MissingFeature: the kernel has no io_uring, or the container may not use it.
    """
    for extra in (_SINGLE_ISSUER | _DEFER_TASKRUN, _COOP_TASKRUN, 0):
        params = _Params(flags=_CQSIZE | _SUBMIT_ALL | extra, cq_entries=completions)
        fd = _syscall(_SETUP, entries, ctypes.addressof(params), 0, 0, 0, 0)
        if fd != -1:
            break
        code = ctypes.get_errno()
        if code != errno.EINVAL:
            reasons = {
                errno.EPERM: "denied by seccomp or kernel.io_uring_disabled",
                errno.ENOSYS: "not in this kernel",
            }
            raise MissingFeature(f"io_uring_setup: {reasons.get(code, os.strerror(code))}")
    else:
        raise MissingFeature("the kernel is older than 5.19")
    os.set_inheritable(fd, False)
    if params.features & (_SINGLE_MMAP | _EXT_ARG_FEATURE) != _SINGLE_MMAP | _EXT_ARG_FEATURE:
        raise MissingFeature("the kernel is older than 5.11")
    return params, fd


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def require() -> None:
    """Check that a ring can be made.

    Raises:
        MissingFeature: the kernel or the container does not allow it.
    """
    Ring(8, 16, 8, 512).close()
