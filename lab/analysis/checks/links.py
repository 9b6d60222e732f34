"""Checks of the links: as requested before and after the load, and no packet dropped unrequested."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lab.analysis.checks.limits import LIMITS
from lab.analysis.checks.trial_view import NoData, Result, TrialView, both, graded, told
from lab.analysis.recovery import Moment, happenings
from lab.common.units import show_bit_rate, show_ms, show_percent, show_plain
from lab.results.link import UNTOUCHED, Counters, LinkRecord, RoundTrips
from lab.scenario.impairment import Impairment


def loses(link: LinkRecord) -> bool:
    """Whether a link dropped packets by design at some time: loss, corruption, a rate, a partition."""
    changed = (direction for change in link.changes for direction in (change.there, change.back))
    return any(map(_loses, (*link.requested, *changed)))


def _loses(direction: Impairment) -> bool:
    return bool(
        _loss_is_dependent(direction) or direction.loss or direction.corrupt or direction.rate_bit_per_s
    )


def _loss_is_dependent(direction: Impairment) -> bool:
    """Whether the loss of a packet depends on that of the packets before."""
    correlation = direction.loss_correlation or direction.corrupt_correlation
    return bool(correlation or direction.loss_state or direction.loss_gemodel)


def in_force(view: TrialView) -> Iterator[Result]:
    """Check that the link was in force to the end: no rule vanished, no helper died, no event failed."""
    for link in view.trial.links:
        for problem in link.problems:
            yield Result(
                "invalid",
                f"{link.name}: {problem}",
                "see this problem in the trial's logs, and measure the trial again",
            )
    for event in view.trial.events:
        if event.error:
            says = f"event {event.what} on {event.target} failed: {event.error}"
            yield Result("invalid", says, "correct the event in the scenario, or take it out")


def event_on_time(view: TrialView) -> Iterator[Result]:
    """Check that timed events began and ended when the scenario wants, in ms and as a share of `for`."""
    for one in happenings(view.trial):
        if one.begin.error or (one.end and one.end.error):
            continue  # link_in_force says so
        off_ms = max(_off_ms(one.says, moment) for moment in (one.begin, one.end) if moment)
        for_ms = 1000 * (one.event.duration or 0.0)
        by = {"event_ms": off_ms} | ({"event_share": off_ms / for_ms} if for_ms else {})
        limit = max(by, key=lambda name: ("ok", "suspect", "invalid").index(LIMITS[name].grade(by[name])))
        yield from graded(
            limit,
            by[limit],
            f"event {one.says} was early or late by up to {off_ms:,.0f} ms"
            + (f" = {show_percent(by[limit])}" if limit == "event_share" else ""),
            "run on a quieter host, or lengthen `for`",
        )


def _off_ms(says: str, moment: Moment) -> float:
    actual_ms = moment.done.actual_mono_ms if moment.done else None
    missing = f"when event {says} began and ended was not recorded"
    return abs(told(actual_ms, missing) - moment.wanted_ms)


def delay(view: TrialView) -> Iterator[Result]:
    """Median round trip against the sum of both requested delays, before or after the load: the worse one."""
    for link in _links(view):
        requested_ms = link.requested.rtt_ms
        # Probes without a median were all lost: link_loss judges that.
        probes = [(probe.rtt_p50_ms, when) for when, probe in _probes(link)]
        medians = [(median_ms, when) for median_ms, when in probes if median_ms is not None]
        if not medians:
            raise NoData(f"{link.name}: no probe came back")
        for median_ms, when in sorted(medians, key=lambda one: abs(one[0] - requested_ms))[-1:]:
            error_ms = abs(median_ms - requested_ms)
            yield from both(
                ("link_delay_ms", error_ms),
                ("link_delay_share", error_ms / requested_ms if requested_ms else math.inf),
                f"{link.name}: median round trip {show_ms(median_ms)} {when} the load, "
                f"{show_plain(requested_ms)} ms requested: off by {show_ms(error_ms)}"
                + (f" = {show_percent(error_ms / requested_ms)}" if requested_ms else ""),
                f"stop other processes on this host, or {view.lower_load}",
            )


def loss(view: TrialView) -> Iterator[Result]:
    """Lost probes against the requested loss, by the exact binomial test, which needs independent losses."""
    for link in _links(view):
        if any(map(_loss_is_dependent, link.requested)):
            continue
        probes = [probe for _, probe in _probes(link)]
        lost, sent = sum(probe.lost for probe in probes), sum(probe.sent for probe in probes)
        if not sent:
            raise NoData(f"{link.name}: no probe was sent")
        requested = link.requested.loss_share
        confidence = _confidence(lost, sent, requested)
        yield from graded(
            "link_loss",
            confidence,
            f"{link.name}: {lost} of {sent} probes lost, {show_percent(requested)} of round trips requested: "
            f"they differ with a confidence of {show_plain(round(confidence * 100, 4))} %",
            "lower the rate of the load, and see what drops packets: `ip -s link`, `nstat`",
        )


def _confidence(lost: int, sent: int, requested: float) -> float:
    """Return the confidence that the loss is not the requested one."""
    if not requested:
        return float(lost > 0)
    from scipy.stats import binomtest

    return 1 - float(binomtest(lost, sent, requested).pvalue)


def rate(view: TrialView) -> Iterator[Result]:
    """Compare the measured bit rate with the requested one."""
    for link in _links(view):
        requested = _rate(link)
        if requested is None:
            continue
        measured = link.measured.rate_bit_per_s
        if measured is None:
            raise NoData(f"{link.name}: the rate was configured and read back, not measured")
        off = abs(measured / requested - 1)
        says = (
            f"{link.name}: {show_bit_rate(measured)} measured, {show_bit_rate(requested)} requested: "
            f"a difference of {show_percent(off)}"
        )
        yield from graded("link_rate", off, says, "stop other processes on this host")


def _rate(link: LinkRecord) -> float | None:
    """Return the lower of both directions' requested rates, in bit/s."""
    return min((one.rate_bit_per_s for one in link.requested if one.rate_bit_per_s), default=None)


def drops(view: TrialView) -> Iterator[Result]:
    """Packets dropped by full queues: a delay queue must drop none; a link with a rate does so by design."""
    for link in _links(view):
        requested = _rate(link)
        for place, counted in _counters(link):
            overrun = counted.dropped_user
            dropped = _dropped_queue(link, place, counted)
            if requested is None:
                overrun += dropped
            elif dropped:
                used = _utilisation(link, counted, requested, view)
                says = f"{link.name}: {place} dropped {dropped:,} packets at its rate, by design"
                yield Result(
                    "ok", f"{says} (mean utilisation {show_percent(used)})", value=dropped, expected=True
                )
            yield from graded(
                "link_drops",
                overrun,
                f"{link.name}: {overrun:,} packets dropped by the full queue of {place}",
                "raise the link's `limit` above packet rate × delay",
            )


def _utilisation(link: LinkRecord, counted: Counters, rate_bit_per_s: float, view: TrialView) -> float:
    if counted.bytes is None:
        raise NoData(f"{link.name}: its bytes were not counted")
    begun = view.load.phases.begun.values()
    load_s = (max(begun) - min(begun)) / 1000
    return counted.bytes * 8 / (rate_bit_per_s * load_s)


def _dropped_queue(link: LinkRecord, place: str, counted: Counters) -> int:
    """Count drops by a full queue; where netem counts losses too, those that the loss cannot explain."""
    if counted.dropped_queue is not None:
        return counted.dropped_queue
    from scipy.stats import binom

    configured = link.configured.get(place, UNTOUCHED)
    if counted.dropped is None or _loss_is_dependent(configured):
        raise NoData("the kernel counts losses and drops by a full queue together")
    confidence = LIMITS["link_loss"].invalid
    most = binom.ppf(confidence, counted.dropped + counted.packets, configured.loss)
    return max(0, counted.dropped - int(most))


def lateness(view: TrialView) -> Iterator[Result]:
    """Lateness of the delay line's verdicts under load, on the worst interface."""
    for link in _links(view):
        late: list[tuple[float, str]] = []
        for place, counted in _counters(link):
            p99_us = counted.lateness_us.p99 if counted.lateness_us else None
            if p99_us is not None:
                late.append((p99_us / 1000, place))
            elif link.backend == "delayline" and counted.packets:
                raise NoData(f"{link.name}: the delay line of {place} did not report its lateness")
        for worst_ms, place in sorted(late)[-1:]:
            says = f"{link.name}: in the delay line of {place}, lateness p99 {show_ms(worst_ms)}"
            remedy = f"{view.lower_load}, or use a kernel with netem"
            yield from graded("delayline_lateness_p99_ms", worst_ms, says, remedy)


def _links(view: TrialView) -> Sequence[LinkRecord]:
    if not view.trial.links:
        raise NoData("the scenario has links, the record has none")
    return view.trial.links


def _counters(link: LinkRecord) -> Iterator[tuple[str, Counters]]:
    if not link.counters:
        raise NoData(f"{link.name}: its counters were not read after the load")
    yield from link.counters.items()


def _probes(link: LinkRecord) -> Iterator[tuple[str, RoundTrips]]:
    """Yield the probes before the load and, unless events have changed the link, after it."""
    before, after = link.measured.before, link.measured.after
    if before is None or after is None:
        raise NoData(f"{link.name}: it was not probed before and after the load")
    yield "before", before
    if not link.changes:
        yield "after", after
