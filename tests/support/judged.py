"""The synthetic runs with a judgement made by hand, so that reports are tested apart from the checks."""

from __future__ import annotations

import functools

from lab.analysis.model import Finding, Summary, ThresholdResult
from lab.analysis.summary import summarise
from lab.results.record import Run
from tests.support import make_golden

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m\u202e& `|*_ \"'"
FINDINGS = (
    Finding(check="little_law", level="ok", says="nothing to tell"),
    Finding(check="max_open", level="ok", trial="select/1", says="held 1,017, as expected", expected=True),
    Finding(check="steady", level="suspect", trial="thread/1", says="the median moved", do="measure longer"),
    Finding(check="provenance", level="unknown", says="not checked: no revision"),
    Finding(
        check="server_died", level="fail", trial="crash/1", says=f"SIGSEGV {HOSTILE}", do="see server.log"
    ),
    Finding(
        check="lateness", level="invalid", trial="asyncio/2", says="sends were late", do="lower the rate"
    ),
)
THRESHOLDS = (
    ThresholdResult(server="epoll_lt", metric="latency", threshold="p(99)<100ms", ok=True, value=42.7),
    ThresholdResult(server="thread", metric="latency", threshold="p(99)<50ms", ok=False, value=87.7),
)


@functools.cache
def golden() -> tuple[Run, Summary]:
    """Seven servers, two repeats, one of them dead; a FAIL with a finding of every level."""
    run = make_golden.golden()
    judged = {"verdict": "FAIL", "exit_code": 99, "findings": FINDINGS, "thresholds": THRESHOLDS}
    checks = {"steady": {"ok": 11, "suspect": 1}, "lateness": {"ok": 11, "invalid": 1}}
    return run, summarise(run).model_copy(update={**judged, "checks": checks})


@functools.cache
def sweep() -> tuple[Run, Summary]:
    """Three servers at four numbers of connections; a PASS without a finding."""
    run = make_golden.sweep()
    return run, summarise(run).model_copy(update={"verdict": "PASS", "exit_code": 0})


@functools.cache
def failed() -> tuple[Run, Summary]:
    """A run in which nothing was measured."""
    crash = make_golden.trial("crash", "crash/1", 1, make_golden.SHAPES["crash"], {})
    run = make_golden.of_trials("20261123T090000Z-dead-0000", "dead", [crash])
    return run, summarise(run).model_copy(update={"verdict": "UNKNOWN", "exit_code": 4})
