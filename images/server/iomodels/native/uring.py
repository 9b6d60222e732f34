"""io_uring (io_uring(7)) by its three system calls: one ring, multishot accept and receive, provided buffers.

Two rings are shared with the kernel. We write requests (SQE, 64 bytes) and move the tail of one; the kernel
writes completions (CQE, 16 bytes) and moves the tail of the other. io_uring_enter(2) submits any number of
requests and waits for completions, both in one call. No request of ours is seen before that call and no
completion is read before it has returned, so the system call is all the memory barrier that is needed.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct

from iomodels.native import Missing, libc

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
_BYTES_HEADER = bytes.__basicsize__ - 1  # CPython: where the content of a bytes object begins

BUFFER, MORE = 1 << 0, 1 << 1  # flags of a completion: it brought a buffer; its request goes on


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
    """A submission and a completion ring, and a pool of receive buffers that the kernel picks from.

    Tags are ours: whole numbers from 0 that come back with the completions of their request.
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
        for index in range(params.sq_entries):  # the indirection of the submission ring is not used
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
            raise Missing(
                f"io_uring with provided buffer rings, Linux 5.19 ({os.strerror(ctypes.get_errno())})"
            )
        for number in range(count):
            self._give_back(number)

    def _give_back(self, number: int) -> None:
        at = (self._buffer_tail & self._buffer_mask) * 16
        address = self._pool_address + number * self._each_bytes
        _BUFFER.pack_into(self._buffers, at, address, self._each_bytes, number)
        self._buffer_tail += 1
        struct.pack_into(
            "=H", self._buffers, 14, self._buffer_tail & 0xFFFF
        )  # the tail lies in the first entry

    def accept(self, fd: int, tag: int) -> None:
        """Accept connection after connection: a completion each, its result the descriptor."""
        self._push(_ACCEPT, 0, _ACCEPT_MULTISHOT, fd, 0, 0, 0, _SOCK_CLOEXEC, tag)

    def receive(self, fd: int, tag: int) -> None:
        """Receive again and again, each time into a buffer of the pool."""
        self._push(_RECV, _BUFFER_SELECT, _RECV_MULTISHOT, fd, 0, 0, 0, 0, tag)

    def send(self, fd: int, data: bytes, offset: int, tag: int) -> None:
        """Send `data` from `offset`; the caller keeps `data` alive until the completion."""
        address = id(data) + _BYTES_HEADER + offset
        self._push(_SEND, 0, 0, fd, 0, address, len(data) - offset, _MSG_NOSIGNAL, tag)

    def cancel(self, request_tag: int, tag: int) -> None:
        """End the request with that tag; it completes with ECANCELED."""
        self._push(_CANCEL, 0, 0, -1, 0, request_tag, 0, 0, tag)

    def _push(
        self,
        code: int,
        flags: int,
        priority: int,
        fd: int,
        off: int,
        address: int,
        length: int,
        how: int,
        tag: int,
    ) -> None:
        if self._tail - self._submitted == self._entries:
            self._enter(0)
        at = (self._tail & self._sq_mask) * _SQE.size
        _SQE.pack_into(
            self._sqes, at, code, flags, priority, fd, off, address, length, how, tag, 0, 0, 0, 0, 0
        )
        self._tail += 1
        self._words[self._sq_tail_at] = self._tail & 0xFFFFFFFF

    def wait(self, timeout_s: float | None) -> list[tuple[int, int, int]]:
        """Submit what was pushed, wait for at least one completion, return all as (tag, result, flags).

        Returns nothing when the time is over or a signal's handler has run.
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

    def take(self, result: int, flags: int) -> bytes:
        """Return the bytes that a receive brought, and give its buffer back to the kernel."""
        number = flags >> 16
        start = number * self._each_bytes
        data = self._pool[start : start + result]
        self._give_back(number)
        return data

    def _enter(self, least: int, timeout_s: float | None = None) -> None:
        flags, argument, size = _GETEVENTS, 0, 0
        if timeout_s is not None:
            self._timeout[0] = int(timeout_s)
            self._timeout[1] = int((timeout_s - int(timeout_s)) * 1e9)
            flags, argument, size = _GETEVENTS | _EXT_ARG, ctypes.addressof(self._argument), 24
        count = _syscall(_ENTER, self._fd, self._tail - self._submitted, least, flags, argument, size)
        if count >= 0:
            self._submitted += count
            return
        code = ctypes.get_errno()
        if code not in (errno.EINTR, errno.ETIME, errno.EAGAIN, errno.EBUSY):
            raise OSError(code, os.strerror(code))

    def close(self) -> None:
        """End the ring: the kernel cancels what is in flight. The memory goes with its last reference."""
        os.close(self._fd)


def _set_up(entries: int, completions: int) -> tuple[_Params, int]:
    """Return a new ring; asks for completions to be handled in our own wait (Linux 6.1), else does without.

    Raises:
        Missing: io_uring is not there, or not allowed; says which.
    """
    for extra in (_SINGLE_ISSUER | _DEFER_TASKRUN, _COOP_TASKRUN, 0):
        params = _Params(flags=_CQSIZE | _SUBMIT_ALL | extra, cq_entries=completions)
        fd = _syscall(_SETUP, entries, ctypes.addressof(params), 0, 0, 0, 0)
        if fd != -1:
            break
        code = ctypes.get_errno()
        if code != errno.EINVAL:
            why = {
                errno.EPERM: "denied by seccomp or kernel.io_uring_disabled",
                errno.ENOSYS: "not in this kernel",
            }
            raise Missing(f"io_uring: {why.get(code, os.strerror(code))}")
    else:
        raise Missing("io_uring: this kernel is older than 5.19")
    os.set_inheritable(fd, False)
    if params.features & (_SINGLE_MMAP | _EXT_ARG_FEATURE) != _SINGLE_MMAP | _EXT_ARG_FEATURE:
        raise Missing("io_uring: this kernel is older than 5.11")
    return params, fd


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def require() -> None:
    """Check that a ring can be made.

    Raises:
        Missing: it cannot.
    """
    Ring(8, 16, 8, 512).close()
