"""What the kernel has configured, from `tc -j -s qdisc show`, as an Impairment. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace

from lab.impair.answers import Configured, NetemOptions, Qdisc
from lab.impair.argv import IN_ORDER_RATE
from lab.results.link import Counters
from lab.scenario.impairment import Impairment

Value = float | str | tuple[float, ...] | None
_IN_ORDER_BYTES_PER_S = 100e9 / 8
# netem keeps probabilities in 32 bits and delays in whole nanoseconds.
_SHARE_TOLERANCE = 1e-6
_RELATIVE_TOLERANCE = 1e-3
_LOSS_STATE = ("p13", "p31", "p32", "p23", "p14")
_LOSS_GEMODEL = ("p", "r", "1-h", "1-k")
# The delay line alone draws from a seed; the kernel keeps a distribution's table, not its name.
_NOT_READ_BACK = {"seed", "distribution"}
assert IN_ORDER_RATE == "100gbit"


def find(qdiscs: Sequence[Qdisc], handle: str) -> Qdisc | None:
    """Return the netem of that handle; None if somebody has deleted it."""
    return next((q for q in qdiscs if q.kind == "netem" and q.handle == handle), None)


def impairment(options: NetemOptions) -> Impairment:
    """Return the options of a netem as an Impairment."""
    return Impairment.read_back({name: value for name, value in _fields(options) if value})


def in_force(found: Configured) -> list[tuple[str, Impairment]]:
    """Return an interface's impairments, each with its peers: addresses, `all`, or a class of tc."""
    queues = [(", ".join(queue.peers) or "all", queue.impairment) for queue in found.queues]
    netems = [
        ("all" if qdisc.root else f"class {qdisc.parent}", impairment(qdisc.netem))
        for qdisc in found.qdiscs
        if qdisc.netem
    ]
    return [*queues, *netems]


def counters(qdisc: Qdisc, requested: Impairment) -> Counters:
    """Return the statistics of a netem; losses and drops by a full queue, counted as one, are not known."""
    known = not requested.loss_share
    return Counters(
        packets=qdisc.packets,
        bytes=qdisc.bytes,
        held=qdisc.qlen,
        dropped=qdisc.drops,
        dropped_queue=qdisc.drops if known else None,
        dropped_asked=0 if known else None,
    )


def differences(requested: Impairment, limit_packets: int, found: Impairment) -> list[str]:
    """Each value that the kernel holds otherwise than requested, in words; empty if all agree."""
    wanted = replace(requested, limit_packets=limit_packets)
    names = sorted({f.name for f in fields(Impairment)} - _NOT_READ_BACK)
    pairs = {name: (getattr(wanted, name), getattr(found, name)) for name in names}
    return [
        f"{name}: requested {asked}, the kernel has {held}"
        for name, (asked, held) in pairs.items()
        if not _same(asked, held)
    ]


def _same(wanted: Value, found: Value) -> bool:
    if isinstance(wanted, tuple) and isinstance(found, tuple):
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        return math.isclose(wanted, found, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_SHARE_TOLERANCE)
    return wanted == found


def _fields(options: NetemOptions) -> Iterator[tuple[str, Value]]:
    """Fields of Impairment; zero where netem has none."""
    yield "limit_packets", options.limit
    yield "delay_ms", _number(options.delay, "delay") * 1e3
    yield "jitter_ms", _number(options.delay, "jitter") * 1e3
    yield "delay_correlation", _number(options.delay, "correlation")
    yield "loss", _number(options.loss_random, "loss")
    yield "loss_correlation", _number(options.loss_random, "correlation")
    yield "loss_state", tuple(options.loss_state[name] for name in _LOSS_STATE if options.loss_state)
    yield "loss_gemodel", tuple(options.loss_gemodel[name] for name in _LOSS_GEMODEL if options.loss_gemodel)
    for name in ("corrupt", "duplicate", "reorder"):
        event: Mapping[str, float] = getattr(options, name)
        yield name, _number(event, name)
        yield f"{name}_correlation", _number(event, "correlation")
    if options.reorder and options.gap > 1:
        yield "reorder_gap", options.gap
    rate_bytes_per_s = _number(options.rate, "rate")
    if rate_bytes_per_s != _IN_ORDER_BYTES_PER_S:
        yield "rate_bit_per_s", rate_bytes_per_s * 8


def _number(group: Mapping[str, float], name: str) -> float:
    return float(group[name]) if name in group else 0.0
