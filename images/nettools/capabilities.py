"""What this kernel can do, found out by asking it, without leaving a trace.

A queueing discipline is asked for without its options: an unknown kind is refused as unknown (ENOENT, after
the kernel has tried to load its module), a known one because options are missing (EINVAL). Nothing is
created.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from . import netlink, rules

_NETLINK_ROUTE = 0
_RTM_NEWQDISC = 36
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_EXCL, _NLM_F_CREATE = 1, 4, 0x200, 0x400
_TC_H_ROOT = 0xFFFFFFFF
_TCA_KIND = 1
_LOOPBACK_INDEX = 1
_PROBE_QUEUE = 65_535


async def capabilities() -> dict[str, object]:
    """`netem`, `tbf`, `htb`, `nfqueue`, `raw_sockets`: bool each; `why`: reason for each that is missing."""
    why = {kind: _why_no_qdisc(kind) for kind in ("netem", "tbf", "htb")}
    why["nfqueue"] = _why_no_queue() or await rules.can_queue()
    why["raw_sockets"] = _why_no_raw_sockets()
    found: dict[str, object] = {name: reason is None for name, reason in why.items()}
    found["why"] = {name: reason for name, reason in why.items() if reason is not None}
    return found


def _why_no_qdisc(kind: str) -> str | None:
    name = kind.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(name), _TCA_KIND) + name + bytes(-len(name) % 4)
    body = struct.pack("=BxxxiIII", socket.AF_UNSPEC, _LOOPBACK_INDEX, 0, _TC_H_ROOT, 0) + attribute
    flags = _NLM_F_REQUEST | _NLM_F_ACK | _NLM_F_EXCL | _NLM_F_CREATE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as route:
        route.settimeout(5)
        route.send(struct.pack("=IHHII", 16 + len(body), _RTM_NEWQDISC, flags, 0, 0) + body)
        code = -struct.unpack_from("=i", route.recv(4096), 16)[0]
    if code == errno.EINVAL:
        return None
    if code == errno.ENOENT:
        return f"this kernel has no sch_{kind}"
    return f"{kind}: {os.strerror(code)}"


def _why_no_queue() -> str | None:
    try:
        netlink.Queue(_PROBE_QUEUE).close()
    except OSError as error:
        return f"nfnetlink_queue: {error.strerror}"
    return None


def _why_no_raw_sockets() -> str | None:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).close()
    except PermissionError:
        return "no NET_RAW: the delay line cannot duplicate"
    return None
