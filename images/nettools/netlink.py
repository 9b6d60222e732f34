"""NFQUEUE over a raw `AF_NETLINK` socket: the few messages that the delay line needs.

Kernel facts, each one a trap once:

- A verdict is a request: without `NLM_F_REQUEST` the kernel skips it silently and nothing is ever released.
- A batch verdict (`NFQNL_MSG_VERDICT_BATCH`) applies to every held packet with an id up to the given one.
  Ids count up in the order in which packets were queued, so one message releases a whole run.
- One `send` may carry many messages; the kernel works them off in order before `send` returns.
- The kernel looks an id up from the head of its list: a verdict for the oldest packet is O(1), for the
  newest O(n).
- When our receive buffer is full the packet is dropped and counted as `queue_user_dropped`; when the queue is
  longer than its `maxlen`, as `queue_dropped`. With fail-open it would pass undelayed: never set that flag.
- What the socket's filter rejects counts as delivered (`netlink_unicast` tells success): the packet waits in
  its queue like any other, and nobody is woken. A classic filter needs no privilege.
- The newest id given out stands in procfs. It is counted up under the lock that every verdict takes, so a
  packet whose id can be read there is in its queue when a verdict about it arrives.
- When the socket closes, the kernel drops what the queue holds; a rule without `--queue-bypass` drops what
  follows.
- With the GSO flag, packets arrive as TCP built them, up to 64 KiB; without it the kernel segments them first
  and completes their checksums.

Sources: linux/netfilter/nfnetlink_queue.h, net/netfilter/nfnetlink_queue.c, net/netlink/af_netlink.c,
netlink(7), socket(7) on SO_ATTACH_FILTER.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_NO_ENOBUFS = 5
_SO_RCVBUFFORCE, _SO_ATTACH_FILTER, _SO_DETACH_FILTER = 33, 26, 27
_MSG_DONTWAIT = 0x40
_NLM_F_REQUEST, _NLM_F_ACK = 1, 4
_SUBSYS_QUEUE = 3 << 8
_PACKET, _VERDICT, _CONFIG, _VERDICT_BATCH = (_SUBSYS_QUEUE | n for n in range(4))
_CFG_CMD, _CFG_PARAMS, _CFG_MAXLEN, _CFG_MASK, _CFG_FLAGS = range(1, 6)
_ATTR_VERDICT_HDR, _ATTR_PAYLOAD = 2, 10
_CMD_BIND = 1
_COPY_META, _COPY_PACKET = 1, 2
_FLAG_FAIL_OPEN, _FLAG_GSO = 1, 4
_NF_DROP, _NF_ACCEPT = 0, 1

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_NFGEN = struct.Struct("!BBH")  # nfgenmsg: family, version, queue number
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
_ERROR = struct.Struct("=i4xH")  # nlmsgerr: error, then the header of the request: its length, its type
_LENGTHS = struct.Struct("!BxHH")  # of an IP header: version, total length (v4), payload length (v6)
_TYPE = struct.Struct("=H")
_ID = struct.Struct("!I")
_TYPE_AT, _ID_AT = 4, 24  # NFQA_PACKET_HDR is always the first attribute; it starts with the id
_PACKET_BE = int.from_bytes(_TYPE.pack(_PACKET), "big")
_ATTRIBUTES_BYTES = 512  # more than the kernel's attributes before a payload take up
IPV4_HEADER_BYTES, IPV6_HEADER_BYTES = 20, 40
MESSAGES_PER_READ = 64
_RECEIVE_BUFFER_BYTES = 64 << 20
COUNTERS = Path("/proc/self/net/netfilter/nfnetlink_queue")
_COUNTERS_PAGE_BYTES = 4096  # procfs gives no more at once
_COUNTERS_ROW_BYTES = 80  # more than one row takes up
ID_MASK = 0xFFFFFFFF

# struct sock_filter: code, jump if true, jump if false, operand. A message that is not about a packet passes.
_FILTER = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x28, 0, 0, _TYPE_AT),  # load the two bytes of the type, as if they were big-endian
        (0x15, 0, 1, _PACKET_BE),  # is it a packet?
        (0x06, 0, 0, 0),  # reject
        (0x06, 0, 0, 0xFFFFFFFF),  # pass whole
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


def _attribute(kind: int, data: bytes) -> bytes:
    return _ATTRIBUTE.pack(len(data) + 4, kind) + data + bytes(-len(data) % 4)


def _message(kind: int, queue: int, body: bytes, flags: int = 0) -> bytes:
    header = _HEADER.pack(_HEADER.size + _NFGEN.size + len(body), kind, _NLM_F_REQUEST | flags, 0, 0)
    return header + _NFGEN.pack(socket.AF_UNSPEC, 0, queue) + body


def accept_up_to(queue: int, packet_id: int) -> bytes:
    """The message that releases every held packet of `queue` up to and with `packet_id`."""
    return _accept_up_to(queue) + _ID.pack(packet_id & ID_MASK)


@cache
def _accept_up_to(queue: int) -> bytes:
    """All but the id: the commonest message is the same each time."""
    return _verdict(_VERDICT_BATCH, queue, _NF_ACCEPT, 0)[: -_ID.size]


def accept(queue: int, packet_id: int, payload: bytes | None = None) -> bytes:
    """The message that releases one packet, with other contents if a `payload` (IP header first) is given."""
    return _verdict(_VERDICT, queue, _NF_ACCEPT, packet_id, payload)


def drop(queue: int, packet_id: int) -> bytes:
    """The message that drops one packet."""
    return _verdict(_VERDICT, queue, _NF_DROP, packet_id)


def _verdict(kind: int, queue: int, verdict: int, packet_id: int, payload: bytes | None = None) -> bytes:
    body = _attribute(_ATTR_VERDICT_HDR, struct.pack("!II", verdict, packet_id & ID_MASK))
    if payload is not None:
        body += _attribute(_ATTR_PAYLOAD, payload)
    return _message(kind, queue, body)


class Queue:
    """One NFQUEUE on a socket of its own. `socket` is for waiting on; reads never block.

    Raises OSError when the kernel refuses: EPERM without NET_ADMIN or when another process holds the number.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.verdicts_refused = 0  # the packet was gone: its interface went down, which empties the queue
        self.socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        self.socket.bind((0, 0))
        self.socket.settimeout(2)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        # An overrun is counted by the kernel either way; without this it also stops delivery until we drain.
        self.socket.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        self._ask(_attribute(_CFG_CMD, struct.pack("!BBH", _CMD_BIND, 0, 0)))
        self.socket.settimeout(
            None
        )  # a send to the kernel never waits; with a timeout Python would poll first
        self._at: Sequence[int] = ()
        self._announces = True
        self._payload_at = 0  # in the message read last
        self._allocate(0)

    def configure(self, copy_bytes: int, whole_segments: bool, limit_packets: int) -> None:
        """Copy so many bytes of each packet (0: none), leave GSO packets whole or not, hold at most so many.

        The kernel's refusal, if any, is raised by a later `read`: packets may already be on their way.
        """
        mode = _COPY_PACKET if copy_bytes else _COPY_META
        body = _attribute(_CFG_PARAMS, struct.pack("!IB", copy_bytes, mode))
        body += _attribute(_CFG_MAXLEN, struct.pack("!I", limit_packets))
        body += _attribute(_CFG_FLAGS, struct.pack("!I", _FLAG_GSO if whole_segments else 0))
        body += _attribute(_CFG_MASK, struct.pack("!I", _FLAG_GSO | _FLAG_FAIL_OPEN))
        if copy_bytes != self._copy_bytes:
            self._allocate(copy_bytes)
        self.socket.send(_message(_CONFIG, self.number, body))

    def read(self) -> tuple[int, ...]:
        """Ids of what the kernel has queued, oldest first, at most 64; empty when there is nothing."""
        got = _recvmmsg(self.socket.fileno(), self._messages, MESSAGES_PER_READ, _MSG_DONTWAIT, None)
        if got <= 0:
            code = ctypes.get_errno()
            if got < 0 and code not in (errno.EAGAIN, errno.EINTR):
                raise OSError(code, f"queue {self.number}: {os.strerror(code)}")
            return ()
        found = self._scan(got)
        self._at = range(0, got * self._slot, self._slot)
        if found[::2].count(_PACKET_BE) != got:
            self._at = tuple(at for at in self._at if self._is_packet(at))
            return tuple(_ID.unpack_from(self._buffer, at + _ID_AT)[0] for at in self._at)
        return found[1::2]

    def announce(self, wanted: bool) -> None:
        """Whether `read` is to tell of packets that come from now on, and the socket to wake who waits on it.

        What comes unannounced is held all the same; `Sequences` knows its ids.
        """
        if wanted == self._announces:
            return
        if wanted:
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        else:
            instructions = ctypes.create_string_buffer(_FILTER, len(_FILTER))
            program = struct.pack(
                "HP", len(_FILTER) // 8, ctypes.addressof(instructions)
            )  # struct sock_fprog
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        self._announces = wanted

    def packet_bytes(self, index: int) -> int:
        """Length of the IP packet at `index` of the last read, by its header. Needs `copy_bytes` ≥ 20."""
        start, _ = self._payload(index)
        version, total_v4, payload_v6 = _LENGTHS.unpack_from(self._buffer, start)
        length: int = total_v4 if version >> 4 == 4 else payload_v6 + IPV6_HEADER_BYTES
        return length

    def payload(self, index: int) -> bytearray:
        """What was copied of the packet at `index` of the last read, from its IP header on."""
        start, length = self._payload(index)
        return self._buffer[start : start + length]

    def verdict(self, messages: bytes) -> None:
        """Send verdict messages; the kernel has acted on all of them when this returns."""
        self.socket.send(messages)

    def close(self) -> None:
        """Give the queue back. The kernel drops what it still holds."""
        self.socket.close()

    def _allocate(self, copy_bytes: int) -> None:
        self._copy_bytes = copy_bytes
        self._slot = slot = _ATTRIBUTES_BYTES + copy_bytes
        self._buffer = bytearray(slot * MESSAGES_PER_READ)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        vectors = (_IoVec * MESSAGES_PER_READ)(
            *(_IoVec(start + index * slot, slot) for index in range(MESSAGES_PER_READ))
        )
        self._messages = (_MMsgHdr * MESSAGES_PER_READ)()
        for message, vector in zip(self._messages, vectors, strict=True):
            message.header.iov = ctypes.pointer(vector)
            message.header.iov_length = 1
        self._scanners: dict[int, struct.Struct] = {}

    def _scan(self, count: int) -> tuple[int, ...]:
        """Type and id of the first `count` slots, alternating, in one pass (types read big-endian)."""
        if count not in self._scanners:
            self._scanners[count] = struct.Struct(">" + f"4xH18xI{self._slot - 28}x" * count)
        return self._scanners[count].unpack_from(self._buffer)

    def _is_packet(self, at: int) -> bool:
        """Whether the message is a packet; a refused verdict is counted, any other refusal raised."""
        if _TYPE.unpack_from(self._buffer, at + _TYPE_AT)[0] == _PACKET:
            return True
        code, about = _ERROR.unpack_from(self._buffer, at + _HEADER.size)
        if about in (_VERDICT, _VERDICT_BATCH) and -code == errno.ENOENT:
            self.verdicts_refused += 1
            return False
        raise OSError(-code, f"queue {self.number}, request {about & 255}: {os.strerror(-code)}")

    def _payload(self, index: int) -> tuple[int, int]:
        """Offset and length of the copied bytes: the last attribute; those before it come and go."""
        at = self._at[index]
        length = _HEADER.unpack_from(self._buffer, at)[0]
        if length > self._slot:
            raise OSError(f"queue {self.number}: a message of {length} bytes in a slot of {self._slot}")
        end = at + length
        found = at + self._payload_at
        if not self._is_payload(found, end):
            found = self._find_payload(at, end)
            self._payload_at = found - at
        return found + _ATTRIBUTE.size, _ATTRIBUTE.unpack_from(self._buffer, found)[0] - _ATTRIBUTE.size

    def _is_payload(self, found: int, end: int) -> bool:
        if found + _ATTRIBUTE.size > end:
            return False
        length, kind = _ATTRIBUTE.unpack_from(self._buffer, found)
        return bool(kind == _ATTR_PAYLOAD and end - 4 < found + length <= end)

    def _find_payload(self, at: int, end: int) -> int:
        found = at + _HEADER.size + _NFGEN.size
        while found < end and not self._is_payload(found, end):
            length, _ = _ATTRIBUTE.unpack_from(self._buffer, found)
            found += length + -length % 4
        if found >= end:
            raise OSError(f"queue {self.number}: a packet came without the bytes asked of it")
        return found

    def _ask(self, body: bytes) -> None:
        self.socket.send(_message(_CONFIG, self.number, body, _NLM_F_ACK))
        code, _ = _ERROR.unpack_from(self.socket.recv(4096), _HEADER.size)
        if code:
            raise OSError(-code, f"queue {self.number}: {os.strerror(-code)}")


class Sequences:
    """The newest id of every queue of this network namespace, for the price of one read of procfs."""

    def __init__(self) -> None:
        self._file = COUNTERS.open("rb")

    def read(self) -> dict[int, int]:
        """Queue number → id of the newest packet; 0 before the first."""
        page = words = os.pread(self._file.fileno(), _COUNTERS_PAGE_BYTES, 0)
        while len(page) > _COUNTERS_PAGE_BYTES - _COUNTERS_ROW_BYTES:
            page = os.pread(self._file.fileno(), _COUNTERS_PAGE_BYTES, len(words))
            words += page
        columns = words.split()
        return dict(zip(map(int, columns[::9]), map(int, columns[7::9]), strict=True))


def counters() -> dict[int, dict[str, int]]:
    """Queue number → `held`, `dropped_queue`, `dropped_user`, `packets`, as the kernel counts them here."""
    table = {}
    for line in COUNTERS.read_text().splitlines():
        number, _port, held, _mode, _range, full, unheard, sequence = (int(word) for word in line.split()[:8])
        table[number] = {"held": held, "dropped_queue": full, "dropped_user": unheard, "packets": sequence}
    return table
