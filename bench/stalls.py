#!/usr/bin/env python3
"""How much time do engines and sampler lose in stalls? The 99th percentile over stored runs.

The limits of the checks `generator_stalls` and `sampling` are to come from this distribution on a quiet host:
run smoke, c10k and c100k 20 times each, then this. It reads runs and measures nothing: by default those in
results/, else the folders of runs that are named. Writes results/bench/stalls.json; `--check` writes nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lab.analysis.checks.limits import LIMITS
from lab.analysis.checks.stalls import engine_share, sampler_share
from lab.common.paths import ROOT
from lab.results.record import TrialRecord
from lab.results.store import list_runs, read_run

ALL = "all"
ROW = "{:<24} {:<8} {:>6} {:>9} {:>9} {:>9}"


def shares(trials: Iterable[TrialRecord]) -> dict[tuple[str, str], list[float]]:
    """Return the known shares of the window lost, by scenario (and all) and by who lost it."""
    found: dict[tuple[str, str], list[float]] = {}
    for trial in trials:
        if trial.load is None:
            continue
        for who, share in (("engine", engine_share(trial.load)), ("sampler", sampler_share(trial))):
            if share is not None:
                for scenario in (trial.scenario.name, ALL):
                    found.setdefault((scenario, who), []).append(share)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that this share of all does not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def summary(found: Mapping[tuple[str, str], Sequence[float]]) -> list[dict[str, str | float]]:
    """Return a row for each scenario and who lost time: trials, median, 99th percentile, maximum."""
    return [
        {
            "scenario": scenario, "who": who, "trials": len(values), "p50": statistics.median(values),
            "p99": percentile(values, 0.99), "max": max(values),
        }
        for (scenario, who), values in sorted(found.items(), key=lambda item: (item[0][0] == ALL, item[0]))
    ]  # fmt: skip


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs; default: all in results/")
    parser.add_argument("--check", action="store_true", help="write no file")
    given = parser.parse_args()
    folders = given.runs or list_runs(ROOT / "results")
    rows = summary(shares(trial for folder in folders for trial in read_run(folder).trials))
    print(
        f"Share of the window lost in stalls, {len(folders)} runs. Below 100 trials the p99 is the maximum."
    )
    print(ROW.format("scenario", "who", "trials", "p50", "p99", "max"))
    for row in rows:
        figures = (f"{float(row[name]):.3%}" for name in ("p50", "p99", "max"))
        print(ROW.format(row["scenario"], row["who"], row["trials"], *figures))
    print(
        f"limits now: {LIMITS['generator_stalls'].text()} (engine);",
        f"{LIMITS['sampler_stalls'].text()} (sampler)",
    )
    if not given.check:
        file = ROOT / "results" / "bench" / "stalls.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
