"""Netlink messages of NFQUEUE: encode requests and verdicts.

Kernel facts:

- A verdict is a request: the kernel ignores a message without `NLM_F_REQUEST` silently and releases nothing.
- A batch verdict (`NFQNL_MSG_VERDICT_BATCH`) applies to every packet of the queue with an id up to the given
  one. Ids increase in the order in which packets were queued, so one message releases a whole run.
- One `send` may carry many messages; the kernel processes them in order before `send` returns.
- The kernel looks an id up from the head of its list: a verdict for the oldest packet is O(1), for the newest
  O(n).

Constants have their names in linux/netlink.h, linux/netfilter.h and linux/netfilter/nfnetlink_queue.h.
"""

from __future__ import annotations

import socket
import struct
from functools import cache

NLM_F_REQUEST, NLM_F_ACK = 1, 4
NFNL_SUBSYS_QUEUE = 3
NFQNL_MSG_PACKET, NFQNL_MSG_VERDICT, NFQNL_MSG_CONFIG, NFQNL_MSG_VERDICT_BATCH = (
    NFNL_SUBSYS_QUEUE << 8 | number for number in range(4)
)
NFQA_VERDICT_HDR, NFQA_PAYLOAD = 2, 10
NF_DROP, NF_ACCEPT = 0, 1

NLMSGHDR = struct.Struct("=IHHII")  # length, type, flags, sequence, port
NFGENMSG = struct.Struct("!BBH")  # family, version, queue number
NLATTR = struct.Struct("=HH")  # length, type
_ID = struct.Struct("!I")
ID_MASK = 0xFFFFFFFF


def attribute(kind: int, data: bytes) -> bytes:
    """Encode a netlink attribute, padded to 4 bytes."""
    return NLATTR.pack(len(data) + NLATTR.size, kind) + data + bytes(-len(data) % 4)


def message(kind: int, queue: int, body: bytes, flags: int = 0) -> bytes:
    """Encode a request about a queue; `body` is its attributes."""
    length = NLMSGHDR.size + NFGENMSG.size + len(body)
    header = NLMSGHDR.pack(length, kind, NLM_F_REQUEST | flags, 0, 0)
    return header + NFGENMSG.pack(socket.AF_UNSPEC, 0, queue) + body


def accept_up_to(queue: int, packet_id: int) -> bytes:
    """Encode the verdict that accepts all packets of `queue` up to and including `packet_id`."""
    return _accept_up_to(queue) + _ID.pack(packet_id & ID_MASK)


@cache
def _accept_up_to(queue: int) -> bytes:
    """Encode all but the id: this is the most frequent message, and only the id changes."""
    return _verdict(NFQNL_MSG_VERDICT_BATCH, queue, NF_ACCEPT, 0)[: -_ID.size]


def accept(queue: int, packet_id: int, payload: bytes | None = None) -> bytes:
    """Encode the verdict that accepts one packet, replaced by `payload` (IP header first) if given."""
    return _verdict(NFQNL_MSG_VERDICT, queue, NF_ACCEPT, packet_id, payload)


def drop(queue: int, packet_id: int) -> bytes:
    """Encode the verdict that drops one packet."""
    return _verdict(NFQNL_MSG_VERDICT, queue, NF_DROP, packet_id)


def _verdict(kind: int, queue: int, verdict: int, packet_id: int, payload: bytes | None = None) -> bytes:
    body = attribute(NFQA_VERDICT_HDR, struct.pack("!II", verdict, packet_id & ID_MASK))
    if payload is not None:
        body += attribute(NFQA_PAYLOAD, payload)
    return message(kind, queue, body)
