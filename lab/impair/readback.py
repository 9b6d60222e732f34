"""What the kernel says it does, from `tc -j -s qdisc show`, in the words of an Impairment. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lab.impair.argv import IN_ORDER_RATE
from lab.scenario.impairment import Impairment

_IN_ORDER_BYTES_PER_S = 100e9 / 8
# netem keeps probabilities in 32 bits and delays in whole nanoseconds.
_SHARE_TOLERANCE = 1e-6
_RELATIVE_TOLERANCE = 1e-3
assert IN_ORDER_RATE == "100gbit"


def find(qdiscs: Sequence[Mapping[str, Any]], kind: str, handle: str) -> Mapping[str, Any] | None:
    """The queueing discipline of that kind and handle, or None: somebody took the rule away."""
    return next((q for q in qdiscs if q["kind"] == kind and q["handle"] == handle), None)


def configured(qdisc: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one netem as `tc -j` shows it: keys of Impairment, only what is set."""
    options = qdisc.get("options", {})
    found: dict[str, Any] = {"limit_packets": options["limit"]}
    _delay(options.get("delay", {}), found)
    _loss(options, found)
    for name in ("corrupt", "duplicate", "reorder"):
        if name in options:
            found[name] = float(options[name][name])
            _correlation(options[name], f"{name}_correlation", found)
    if "reorder" in found and options.get("gap", 1) > 1:
        found["reorder_gap"] = options["gap"]
    rate = options.get("rate", {}).get("rate")
    if rate and rate != _IN_ORDER_BYTES_PER_S:
        found["rate_bit_per_s"] = rate * 8.0
    return found


def in_force(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a helper's `configured`, per `impairment`: `to` which peers, all or a class of the kernel's."""
    queues = (
        {"to": ", ".join(queue["peers"]) or "all", "impairment": queue["impairment"]}
        for queue in found["queues"]
    )
    kernel = (
        {
            "to": "all" if qdisc.get("root") else f"class {qdisc['parent']}",
            "impairment": configured(qdisc),
        }
        for qdisc in found["qdiscs"]
        if qdisc["kind"] == "netem"
    )
    return [*queues, *kernel]


def counters(qdisc: Mapping[str, Any], impairment: Impairment) -> dict[str, Any]:
    """Its statistics. netem counts losses on purpose and for want of room as one: then neither is known."""
    drops = qdisc["drops"]
    known = not impairment.loss_share
    return {
        "packets": qdisc["packets"],
        "bytes": qdisc["bytes"],
        "held": qdisc["qlen"],
        "dropped": drops,
        "dropped_queue": drops if known else None,
        "dropped_asked": 0 if known else None,
        "dropped_user": 0,
    }


def differences(requested: Impairment, limit: int, found: Mapping[str, Any]) -> list[str]:
    """What the kernel holds otherwise than it was asked to, in words; empty when all agrees."""
    wanted = requested.to_json() | {"limit_packets": limit}
    wanted.pop("seed", None)
    wanted.pop("distribution", None)  # the kernel keeps the table, not its name
    return [
        f"{key}: asked {wanted.get(key)}, the kernel has {found.get(key)}"
        for key in sorted({*wanted, *found})
        if not _same(wanted.get(key), found.get(key))
    ]


def _same(wanted: Any, found: Any) -> bool:
    if wanted is None or found is None:
        return bool(wanted is found)
    if isinstance(wanted, tuple):
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    return math.isclose(wanted, found, rel_tol=_RELATIVE_TOLERANCE, abs_tol=_SHARE_TOLERANCE)


def _delay(delay: Mapping[str, float], found: dict[str, Any]) -> None:
    if delay.get("delay"):
        found["delay_ms"] = delay["delay"] * 1e3
    if delay.get("jitter"):
        found["jitter_ms"] = delay["jitter"] * 1e3
    _correlation(delay, "delay_correlation", found)


def _loss(options: Mapping[str, Any], found: dict[str, Any]) -> None:
    if "loss-random" in options:
        found["loss"] = float(options["loss-random"]["loss"])
        _correlation(options["loss-random"], "loss_correlation", found)
    if "loss-state" in options:
        found["loss_state"] = tuple(options["loss-state"][key] for key in ("p13", "p31", "p32", "p23", "p14"))
    if "loss-gemodel" in options:
        found["loss_gemodel"] = tuple(options["loss-gemodel"][key] for key in ("p", "r", "1-h", "1-k"))


def _correlation(part: Mapping[str, float], name: str, found: dict[str, Any]) -> None:
    if part.get("correlation"):
        found[name] = float(part["correlation"])
