"""Checks of the links: as asked, before and after the load, and nothing dropped that nobody asked to drop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.analysis.checks.evidence import Evidence, NoData, Said, both, graded, percent
from lab.analysis.checks.table import LIMITS

LOSSES = ("loss", "loss_state", "loss_gemodel", "corrupt")
DEPENDENT = ("loss_correlation", "corrupt_correlation", "loss_state", "loss_gemodel")


def ways(link: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What was asked for of each direction: there and back."""
    asked: Mapping[str, Any] = link.get("requested", {})
    if "there" in asked or "back" in asked:
        return asked.get("there", {}), asked.get("back", {})
    return asked, asked


def loses(way: Mapping[str, Any]) -> bool:
    """Whether this direction drops packets by design: a loss model, corruption, or a rate."""
    return any(way.get(name) for name in (*LOSSES, "rate_bit_per_s"))


def in_force(e: Evidence) -> Iterator[Said]:
    """The link was there to the end: no rule had vanished, no helper was dead, and every event happened."""
    for link in e.trial.links:
        for problem in link.get("problems", ()):
            yield Said("invalid", f"{_name(link)}: {problem}", "see the helper's log in this trial's folder")
    for event in e.trial.events:
        if event.get("error"):
            says = f"{event['what']} of {event['target']} did not happen: {event['error']}"
            yield Said("invalid", says, "mend the event, or run where it can be done")


def delay(e: Evidence) -> Iterator[Said]:
    """Median round trip against the delays asked for, both ways together: the probe that was furthest off."""
    for link in _links(e):
        asked_ms = sum(float(way.get("delay_ms", 0)) for way in ways(link))
        # A probe without a median lost every packet: the check of loss says so.
        probes = [(probe.get("rtt_p50_ms"), when) for when, probe in _probes(link)]
        seen = [(float(median), when) for median, when in probes if median is not None]
        for seen_ms, when in sorted(seen, key=lambda one: abs(one[0] - asked_ms))[-1:]:
            off_ms = abs(seen_ms - asked_ms)
            yield from both(
                ("link_delay_ms", off_ms),
                ("link_delay_share", off_ms / asked_ms if asked_ms else math.inf),
                f"{_name(link)}: {asked_ms:g} ms round trip asked, {seen_ms:.2f} ms seen {when} the load",
                "see whether this host is busy, and which backend made the delay",
            )


def loss(e: Evidence) -> Iterator[Said]:
    """Lost probes against the loss asked for, by the exact binomial test; it needs independent losses."""
    for link in _links(e):
        if any(way.get(name) for way in ways(link) for name in DEPENDENT):
            continue
        kept = math.prod(
            (1 - float(way.get(name) or 0)) for way in ways(link) for name in ("loss", "corrupt")
        )
        lost = sum(int(probe.get("lost", 0)) for _, probe in _probes(link))
        sent = sum(int(probe.get("sent", 0)) for _, probe in _probes(link))
        if not sent:
            raise NoData(f"{_name(link)}: no probe was sent")
        yield from graded(
            "link_loss",
            _surprise(lost, sent, 1 - kept),
            f"{_name(link)}: {percent(1 - kept)} loss of round trips asked, {lost} of {sent} probes lost",
            "probe more, or see what else drops packets on this host",
        )


def _surprise(lost: int, sent: int, asked: float) -> float:
    """The confidence with which so many losses are not those asked for."""
    if not asked:
        return float(lost > 0)
    from scipy.stats import binomtest

    return 1 - float(binomtest(lost, sent, asked).pvalue)


def rate(e: Evidence) -> Iterator[Said]:
    """The bit rate that a probe got through, where it was measured."""
    for link in _links(e):
        asked = [float(way["rate_bit_per_s"]) for way in ways(link) if way.get("rate_bit_per_s")]
        if not asked:
            continue
        seen = link.get("measured", {}).get("rate_bit_per_s")
        if seen is None:
            raise NoData(f"{_name(link)}: the rate was configured and read back, not measured")
        off = abs(float(seen) / min(asked) - 1)
        says = f"{_name(link)}: {min(asked):g} bit/s asked, {float(seen):.4g} seen"
        yield from graded("link_rate", off, says, "see whether this host is busy")


def drops(e: Evidence) -> Iterator[Said]:
    """Packets dropped for want of room: a delay queue must lose none, a link with a rate does by design."""
    for link in _links(e):
        rates = [float(way["rate_bit_per_s"]) for way in ways(link) if way.get("rate_bit_per_s")]
        for place, counted in _counters(link):
            overrun = int(counted.get("dropped_user") or 0)
            dropped = _dropped_queue(counted, link.get("configured", {}).get(place, {}))
            if rates and dropped:
                used = int(counted["bytes"]) * 8 / (min(rates) * _load_s(e))
                says = f"{_name(link)}: {place} dropped {dropped:,} packets at its rate, by design"
                yield Said("ok", f"{says} ({percent(used)} used on average)", value=dropped, expected=True)
            elif not rates:
                overrun += dropped
            yield from graded(
                "link_drops",
                overrun,
                f"{_name(link)}: {overrun:,} packets dropped in the queue of {place}",
                "raise the link's `limit`: it holds packets per second × delay",
            )


def _load_s(e: Evidence) -> float:
    phases = e.load.phases
    return (max(phases.values()) - min(phases.values())) / 1000


def _dropped_queue(counted: Mapping[str, Any], configured: Mapping[str, Any]) -> int:
    """Drops for want of room. Where netem counts those asked for in with them: what chance cannot explain."""
    known = counted.get("dropped_queue")
    if known is not None:
        return int(known)
    from scipy.stats import binom

    if any(configured.get(name) for name in DEPENDENT):
        raise NoData("the kernel counts drops on purpose and for want of room in one")
    dropped, passed = int(counted["dropped"]), int(counted["packets"])
    most = binom.ppf(LIMITS["link_loss"].invalid, dropped + passed, float(configured.get("loss", 0)))
    return max(0, dropped - int(most))


def lateness(e: Evidence) -> Iterator[Said]:
    """How late the delay line gave its verdicts, under load, where it was worst."""
    for link in _links(e):
        late: list[tuple[float, str]] = []
        for place, counted in _counters(link):
            p99_us = (counted.get("lateness_us") or {}).get("p99")
            if p99_us is not None:
                late.append((float(p99_us) / 1000, place))
            elif link.get("backend") == "delayline" and counted.get("packets"):
                raise NoData(f"{_name(link)}: the delay line of {place} did not tell its lateness")
        for worst_ms, place in sorted(late)[-1:]:
            says = f"{_name(link)}: the delay line of {place} was {worst_ms:.2f} ms late at the p99"
            remedy = "lower the packet rate, give the delay line a CPU, or use a kernel with netem"
            yield from graded("delayline_lateness_p99_ms", worst_ms, says, remedy)


def _links(e: Evidence) -> Sequence[Mapping[str, Any]]:
    if not e.trial.links:
        raise NoData("the scenario has links, the record has none")
    return e.trial.links


def _name(link: Mapping[str, Any]) -> str:
    return " – ".join(link["endpoints"])


def _counters(link: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    counters: Mapping[str, Any] = link.get("counters", {})
    if not counters:
        raise NoData(f"{_name(link)}: its counters were not read after the load")
    yield from counters.items()


def _probes(link: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(before | after, probe): one or more of each. After timed changes the link is another than asked."""
    measured: Mapping[str, Any] = link.get("measured", {})
    found = [(when, probe) for when in ("before", "after") for probe in _within(measured.get(when))]
    if {when for when, _ in found} != {"before", "after"}:
        raise NoData(f"{_name(link)}: it was not probed before and after the load")
    yield from ((when, probe) for when, probe in found if when == "before" or not link.get("changes"))


def _within(value: object) -> Iterator[Mapping[str, Any]]:
    """Every probe in a tree of maps and lists: a map with `rtt_ms` is one."""
    if isinstance(value, Mapping):
        if "rtt_ms" in value:
            yield value
        else:
            yield from (probe for child in value.values() for probe in _within(child))
    elif isinstance(value, list | tuple):
        yield from (probe for child in value for probe in _within(child))
