"""One NFQUEUE on a raw `AF_NETLINK` socket, without libnetfilter_queue.

Kernel facts:

- If our receive buffer is full, the packet is dropped and counted as `queue_user_dropped`; if the queue is
  longer than its `maxlen`, as `queue_dropped`. With NFQA_CFG_F_FAIL_OPEN it would pass undelayed: never set
  that flag.
- A message that the socket's filter rejects counts as delivered (`netlink_unicast` returns success): the
  packet waits in its queue like any other, but nobody is woken. A classic BPF filter needs no privilege.
- When the socket closes, the kernel drops what the queue holds; a rule without `--queue-bypass` drops what
  follows.
- With NFQA_CFG_F_GSO, packets arrive as TCP built them, up to 64 KiB; without it the kernel segments them
  first and completes their checksums.

Sources: linux/netfilter/nfnetlink_queue.h, net/netfilter/nfnetlink_queue.c, net/netlink/af_netlink.c,
netlink(7), socket(7) on SO_ATTACH_FILTER, recvmmsg(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Sequence

from .netlink import (
    NFGENMSG,
    NFQA_PAYLOAD,
    NFQNL_MSG_CONFIG,
    NFQNL_MSG_PACKET,
    NFQNL_MSG_VERDICT,
    NFQNL_MSG_VERDICT_BATCH,
    NLATTR,
    NLM_F_ACK,
    NLMSGHDR,
    attribute,
    message,
)

_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_NO_ENOBUFS = 5
_SO_RCVBUFFORCE, _SO_ATTACH_FILTER, _SO_DETACH_FILTER = 33, 26, 27
_MSG_DONTWAIT = 0x40
_NFQA_CFG_CMD, _NFQA_CFG_PARAMS, _NFQA_CFG_QUEUE_MAXLEN, _NFQA_CFG_MASK, _NFQA_CFG_FLAGS = range(1, 6)
_NFQNL_CFG_CMD_BIND = 1
_NFQNL_COPY_META, _NFQNL_COPY_PACKET = 1, 2
_NFQA_CFG_F_FAIL_OPEN, _NFQA_CFG_F_GSO = 1, 4

_NLMSGERR = struct.Struct("=i4xH")  # error, then the header of the request: its length, its type
_IP_LENGTHS = struct.Struct("!BxHH")  # of an IP header: version, total length (v4), payload length (v6)
_TYPE = struct.Struct("=H")
_ID = struct.Struct("!I")
_TYPE_OFFSET, _ID_OFFSET = 4, 24  # NFQA_PACKET_HDR is always the first attribute; it starts with the id
_MSG_PACKET_BE = int.from_bytes(_TYPE.pack(NFQNL_MSG_PACKET), "big")
_ATTRIBUTES_MAX_BYTES = 512  # bound on the kernel's attributes before the payload
IPV4_HEADER_BYTES, IPV6_HEADER_BYTES = 20, 40
MESSAGES_PER_READ = 64
_RECEIVE_BUFFER_BYTES = 64 << 20

# struct sock_filter: code, jump if true, jump if false, operand. Only messages about packets are rejected.
_REJECT_PACKETS = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x28, 0, 0, _TYPE_OFFSET),  # load the two bytes of the message type, as if they were big-endian
        (0x15, 0, 1, _MSG_PACKET_BE),  # is it NFQNL_MSG_PACKET?
        (0x06, 0, 0, 0),  # yes: reject
        (0x06, 0, 0, 0xFFFFFFFF),  # no: pass whole
    )
)


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_IoVec)),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("header", _MsgHdr), ("length", ctypes.c_uint32))


_recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg


class NfQueue:
    """One NFQUEUE on a socket of its own. Wait on `socket` with select; `read` never blocks.

    Raises:
        OSError: The kernel refuses; EPERM without NET_ADMIN, or if another process is bound to the number.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.verdicts_refused = 0  # ENOENT: an interface that goes down empties the queue
        self.socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        self.socket.bind((0, 0))
        self.socket.settimeout(2)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        # The kernel counts an overrun anyway. Without this option it also stops delivery until all is read.
        self.socket.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        self._request(attribute(_NFQA_CFG_CMD, struct.pack("!BBH", _NFQNL_CFG_CMD_BIND, 0, 0)))
        # A send to the kernel never blocks; with a timeout Python would call poll(2) before each.
        self.socket.settimeout(None)
        self._offsets: Sequence[int] = ()
        self._notifies = True
        self._payload_offset = 0  # within the message that was parsed last
        self._allocate(0)

    def configure(self, copy_bytes: int, whole_segments: bool, limit_packets: int) -> None:
        """Set the bytes to copy of each packet (0: none), whether GSO packets stay whole, the queue's limit.

        A later `read` raises the kernel's refusal, if any: packets may already be on their way.
        """
        mode = _NFQNL_COPY_PACKET if copy_bytes else _NFQNL_COPY_META
        body = attribute(_NFQA_CFG_PARAMS, struct.pack("!IB", copy_bytes, mode))
        body += attribute(_NFQA_CFG_QUEUE_MAXLEN, struct.pack("!I", limit_packets))
        body += attribute(_NFQA_CFG_FLAGS, struct.pack("!I", _NFQA_CFG_F_GSO if whole_segments else 0))
        body += attribute(_NFQA_CFG_MASK, struct.pack("!I", _NFQA_CFG_F_GSO | _NFQA_CFG_F_FAIL_OPEN))
        if copy_bytes != self._copy_bytes:
            self._allocate(copy_bytes)
        self.socket.send(message(NFQNL_MSG_CONFIG, self.number, body))

    def set_notify(self, wanted: bool) -> None:
        """Set whether the kernel sends a message for each packet that follows, which wakes a waiter.

        The queue holds a packet without a message all the same; `NewestIds` shows its id.
        """
        if wanted == self._notifies:
            return
        if wanted:
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        else:
            instructions = ctypes.create_string_buffer(_REJECT_PACKETS, len(_REJECT_PACKETS))
            count, address = len(_REJECT_PACKETS) // 8, ctypes.addressof(instructions)
            sock_fprog = struct.pack("HP", count, address)
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, sock_fprog)
        self._notifies = wanted

    def read(self) -> tuple[int, ...]:
        """Return the ids of queued packets, oldest first, at most `MESSAGES_PER_READ`; () if there are none.

        Raises:
            OSError: The kernel refused an earlier request, or the socket failed.
        """
        count = _recvmmsg(self.socket.fileno(), self._messages, MESSAGES_PER_READ, _MSG_DONTWAIT, None)
        if count <= 0:
            code = ctypes.get_errno()
            if count < 0 and code not in (errno.EAGAIN, errno.EINTR):
                raise OSError(code, f"queue {self.number}: {os.strerror(code)}")
            return ()
        types_and_ids = self._scan(count)
        self._offsets = range(0, count * self._slot_bytes, self._slot_bytes)
        if types_and_ids[::2].count(_MSG_PACKET_BE) != count:
            self._offsets = tuple(offset for offset in self._offsets if self._is_packet(offset))
            return tuple(_ID.unpack_from(self._buffer, offset + _ID_OFFSET)[0] for offset in self._offsets)
        return types_and_ids[1::2]

    def packet_bytes(self, index: int) -> int:
        """Return the length of the IP packet at `index` of the last read; needs `copy_bytes` ≥ 20."""
        start, _ = self._payload(index)
        version, total_v4, payload_v6 = _IP_LENGTHS.unpack_from(self._buffer, start)
        length: int = total_v4 if version >> 4 == 4 else payload_v6 + IPV6_HEADER_BYTES
        return length

    def payload(self, index: int) -> bytearray:
        """Return the copied bytes of the packet at `index` of the last read, IP header first."""
        start, length = self._payload(index)
        return self._buffer[start : start + length]

    def send_verdicts(self, messages: bytes) -> None:
        """Send verdict messages; the kernel has executed them all when this returns."""
        self.socket.send(messages)

    def close(self) -> None:
        """Unbind the queue. The kernel drops what it still holds."""
        self.socket.close()

    def _allocate(self, copy_bytes: int) -> None:
        """Allocate one receive slot per message of a `recvmmsg`."""
        self._copy_bytes = copy_bytes
        self._slot_bytes = slot_bytes = _ATTRIBUTES_MAX_BYTES + copy_bytes
        self._buffer = bytearray(slot_bytes * MESSAGES_PER_READ)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        vectors = (_IoVec * MESSAGES_PER_READ)(
            *(_IoVec(start + index * slot_bytes, slot_bytes) for index in range(MESSAGES_PER_READ))
        )
        self._messages = (_MMsgHdr * MESSAGES_PER_READ)()
        for entry, vector in zip(self._messages, vectors, strict=True):
            entry.header.iov = ctypes.pointer(vector)
            entry.header.iov_length = 1
        self._scanners: dict[int, struct.Struct] = {}

    def _scan(self, count: int) -> tuple[int, ...]:
        """Unpack type and id of the first `count` slots at once, alternating; types are read big-endian."""
        if count not in self._scanners:
            self._scanners[count] = struct.Struct(">" + f"4xH18xI{self._slot_bytes - 28}x" * count)
        return self._scanners[count].unpack_from(self._buffer)

    def _is_packet(self, offset: int) -> bool:
        """Return whether the message is a packet; count a refused verdict, raise any other error."""
        if _TYPE.unpack_from(self._buffer, offset + _TYPE_OFFSET)[0] == NFQNL_MSG_PACKET:
            return True
        code, request = _NLMSGERR.unpack_from(self._buffer, offset + NLMSGHDR.size)
        if request in (NFQNL_MSG_VERDICT, NFQNL_MSG_VERDICT_BATCH) and -code == errno.ENOENT:
            self.verdicts_refused += 1
            return False
        raise OSError(-code, f"queue {self.number}, request {request & 255}: {os.strerror(-code)}")

    def _payload(self, index: int) -> tuple[int, int]:
        """Return offset and length of the copied bytes: the last attribute, after a varying set of others."""
        start = self._offsets[index]
        length = NLMSGHDR.unpack_from(self._buffer, start)[0]
        if length > self._slot_bytes:
            raise OSError(f"queue {self.number}: message of {length} bytes in a slot of {self._slot_bytes}")
        end = start + length
        offset = start + self._payload_offset
        if not self._is_payload(offset, end):
            offset = self._find_payload(start, end)
            self._payload_offset = offset - start
        return offset + NLATTR.size, NLATTR.unpack_from(self._buffer, offset)[0] - NLATTR.size

    def _is_payload(self, offset: int, end: int) -> bool:
        if offset + NLATTR.size > end:
            return False
        length, kind = NLATTR.unpack_from(self._buffer, offset)
        return bool(kind == NFQA_PAYLOAD and end - 4 < offset + length <= end)

    def _find_payload(self, start: int, end: int) -> int:
        offset = start + NLMSGHDR.size + NFGENMSG.size
        while offset < end and not self._is_payload(offset, end):
            length, _ = NLATTR.unpack_from(self._buffer, offset)
            offset += length + -length % 4
        if offset >= end:
            raise OSError(f"queue {self.number}: a packet without NFQA_PAYLOAD")
        return offset

    def _request(self, body: bytes) -> None:
        """Send a configuration request and wait for its acknowledgement."""
        self.socket.send(message(NFQNL_MSG_CONFIG, self.number, body, NLM_F_ACK))
        code, _ = _NLMSGERR.unpack_from(self.socket.recv(4096), NLMSGHDR.size)
        if code:
            raise OSError(-code, f"queue {self.number}: {os.strerror(-code)}")
