"""Find out what this kernel supports, without changing its configuration.

A queueing discipline is requested without its options. The kernel refuses an unknown kind with ENOENT, after
it has tried to load the module, and a known kind with EINVAL, because the options are missing. So nothing is
created.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from . import nfqueue, rules

_NETLINK_ROUTE = 0
_RTM_NEWQDISC = 36
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_EXCL, _NLM_F_CREATE = 1, 4, 0x200, 0x400
_TC_H_ROOT = 0xFFFFFFFF
_TCA_KIND = 1
_LOOPBACK_INDEX = 1
_UNUSED_QUEUE = 65_535


async def capabilities() -> dict[str, object]:
    """Return `netem`, `tbf`, `htb`, `nfqueue`, `raw_sockets`: bool each; `why`: the reason for each False."""
    reasons = {kind: _qdisc_missing(kind) for kind in ("netem", "tbf", "htb")}
    reasons["nfqueue"] = _nfqueue_missing() or await rules.nfqueue_target_missing()
    reasons["raw_sockets"] = _raw_sockets_missing()
    found: dict[str, object] = {name: reason is None for name, reason in reasons.items()}
    found["why"] = {name: reason for name, reason in reasons.items() if reason is not None}
    return found


def _qdisc_missing(kind: str) -> str | None:
    """Return None if the kernel has this queueing discipline, else the reason."""
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


def _nfqueue_missing() -> str | None:
    """Return None if the kernel lets us bind an NFQUEUE, else the reason."""
    try:
        nfqueue.NfQueue(_UNUSED_QUEUE).close()
    except OSError as error:
        return f"nfnetlink_queue: {error.strerror}"
    return None


def _raw_sockets_missing() -> str | None:
    """Return None if we may open raw sockets, else the reason."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).close()
    except PermissionError:
        return "no NET_RAW: the delay line cannot duplicate"
    return None
