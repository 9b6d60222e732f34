"""`compare --ab`: two versions are measured now, in turn, in one run, and then compared within it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lab.common.errors import Exit, LabError, UsageError
from lab.verbs import shared

if TYPE_CHECKING:
    from lab.analysis.comparison import Gate
    from lab.analysis.comparison_model import Comparison
    from lab.run.ab import Version

PAIRS = 10
SPREADS = (0.02, 0.05)
FORMATS = (".md", ".html", ".json")


class Versions(NamedTuple):
    """How to measure the two versions."""

    pairs: int
    overrides: list[str] | None
    repository: Path
    trusted: bool
    calibrate: bool
    results: Path | None


def measure(
    asked: list[str], how: Versions, gate: Gate, finish: Callable[[Comparison, list[Path]], int]
) -> int:
    """Measure base and head of a scenario in one run, then compare within it."""
    from lab import report
    from lab.analysis.comparison import compare_alternatives
    from lab.results import store
    from lab.run import ab, session
    from lab.verbs.run import record

    if len(asked) != 3:
        raise UsageError("compare --ab: give a base and a head (git refs or images), and a scenario")
    path, resolved = shared.load(asked[2], how.overrides, "docker")
    base, head = _versions(asked[:2], how.repository)
    doubled, names = ab.alternatives(resolved, base.image, head.image, how.pairs)
    prepared = session.prepare(doubled)
    _forecast(how.pairs, len(prepared.plan.trials) // (2 * how.pairs), gate)
    request = session.Request(
        scenario=path,
        runtime="docker",
        results=shared.results_folder(how.results, resolved),
        argv=sys.argv[1:],
        trusted=how.trusted,
        calibrate=how.calibrate,
        alternatives={"base": base._asdict(), "head": head._asdict()},
    )
    folder = record(prepared, request)
    summary = report.write_all(folder)
    code = finish(
        compare_alternatives(store.read_run(folder), names, gate),
        [folder / f"comparison{suffix}" for suffix in FORMATS],
    )
    shared.print_err(f"\nreport: {shared.relative(folder)}/report.html ({summary.verdict})")
    return Exit.INTERRUPTED if summary.exit_code == Exit.INTERRUPTED else code


def _versions(asked: list[str], repository: Path) -> list[Version]:
    from lab.engine import connect
    from lab.run import ab

    client = connect.ensure(shared.print_err)
    try:
        return ab.versions(client, asked, shared.print_err, repository)
    finally:
        client.close()


def _forecast(pairs: int, servers: int, gate: Gate) -> None:
    """Print what the pairs can detect, before measuring. Raises CannotDetect where that is nothing."""
    from lab.analysis.comparison import METRICS
    from lab.analysis.statistics import fewest_pairs, minimal_detectable

    gated = [m for m in METRICS if (m.name in gate.metrics if gate.metrics else m.gate == "always")]
    family = servers * len(gated)
    if pairs < fewest_pairs(family):
        raise CannotDetect(
            f"{pairs} pairs cannot decide {family} metrics: give --pairs {fewest_pairs(family)} or more, "
            "or fewer metrics (--metric) or servers"
        )
    for metric in gated:
        margin = math.log1p(metric.margin)
        least = [math.expm1(minimal_detectable(spread, pairs, margin, family)) for spread in SPREADS]
        shared.print_err(
            f"{metric.name}: {pairs} pairs detect a worsening of {least[0]:.0%} if they vary by "
            f"{SPREADS[0]:.0%}, and of {least[1]:.0%} if they vary by {SPREADS[1]:.0%}"
        )


class CannotDetect(LabError):
    """The pairs are too few, or vary too much, to detect a regression."""

    exit_code = Exit.UNTRUSTED
