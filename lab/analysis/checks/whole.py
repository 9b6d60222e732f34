"""Checks of the run as a whole: is it complete, can it be repeated, were all servers treated alike?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from lab.analysis.checks.evidence import NoData, Said, percent
from lab.analysis.checks.table import LIMITS
from lab.analysis.env_diff import several_machines
from lab.analysis.model import Summary
from lab.results.record import Run, TrialRecord

PROVENANCE = ("seed", "scenario_sha256", "argv", "plan", "environment")
ENVIRONMENT = ("lab", "python", "host", "placement")
ASKED = ("backlog", "cpus", "memory", "nofile", "pids", "workers")


def complete(run: Run, _: Summary) -> Iterator[Said]:
    """Every trial of the plan has a record, and every record could be read."""
    planned = {trial["id"]: trial.get("source") for trial in run.manifest.get("plan", {}).get("trials", ())}
    if not planned:
        raise NoData("the plan was not kept with the run")
    recorded = {trial.id for trial in run.trials}
    missing = [name for name in planned if name not in recorded]
    if aborted := run.manifest.get("aborted"):
        ended = aborted.get("sources", [None])  # of merged runs, those that ended early
        skipped = [name for name in missing if planned[name] in ended]
        missing = [name for name in missing if planned[name] not in ended]
        yield Said(
            "suspect",
            f"the run ended at {aborted['trial']}, {len(skipped)} of {len(planned)} trials were not run: "
            f"{aborted['says']}",
            "run it without abort_on_fail to measure the rest",
        )
    if missing:
        few = ", ".join(missing[:4]) + (" …" if len(missing) > 4 else "")
        yield Said(
            "unknown", f"{len(missing)} of {len(planned)} trials have no record: {few}", "run it again"
        )
    for problem in run.problems:
        yield Said("suspect", problem, "the rest of the run is complete")


def repeated(run: Run, _: Summary) -> Iterator[Said]:
    """Trials that were invalid by a disturbance from outside, and were measured again: counted and shown."""
    if run.repeated:
        each = "; ".join(f"{one['trial']}: {one['says']}" for one in run.repeated)
        count = len(run.repeated)
        what = "1 trial was" if count == 1 else f"{count} trials were"
        yield Said(
            "suspect", f"{what} disturbed and measured again ({each})", "their records are kept in repeated/"
        )


def machines(run: Run, _: Summary) -> Iterator[Said]:
    """All trials come from one machine: figures of two cannot be set side by side."""
    if several_machines(run):
        yield Said(
            "suspect",
            f"its trials come from {run.manifest['machines']} different machines",
            "do not compare servers that were measured on different machines: run them on one",
        )


def provenance(run: Run, _: Summary) -> Iterator[Said]:
    """What it takes to repeat the run is on record."""
    environment = run.manifest.get("environment", {})
    missing = [name for name in PROVENANCE if run.manifest.get(name) is None]
    missing += [f"environment.{name}" for name in ENVIRONMENT if environment.get(name) is None]
    if environment.get("engine") and not environment.get("images"):
        missing.append("environment.images")
    if missing:
        yield Said("suspect", f"not recorded: {', '.join(missing)}", "the run cannot be repeated exactly")


def fairness(run: Run, _: Summary) -> Iterator[Said]:
    """Same backlog, limits and response bytes for every model of the run (Heiser)."""
    trials = [trial for trial in run.trials if trial.load is not None]
    for name in ASKED:
        values = _by_server(trials, name)
        if len(set(values.values())) > 1:
            pairs = ", ".join(f"{server} {value}" for server, value in values.items())
            yield Said(
                "suspect",
                f"servers differ in `{name}`, as the scenario asks: {pairs}",
                f"compare their figures knowing that `{name}` is part of the difference",
            )
    yield from _granted_backlogs(trials)
    yield from _response_bytes(trials)


def _by_server(trials: Sequence[TrialRecord], name: str) -> dict[str, str]:
    """The setting of each server, as text, where all trials at one sweep point could be compared."""
    found: dict[str, str] = {}
    for trial in trials:
        if not trial.point:
            settings = trial.scenario.get("servers", {}).get(trial.server, {})
            found[trial.server] = json.dumps(settings.get(name))
    return found


def _granted_backlogs(trials: Sequence[TrialRecord]) -> Iterator[Said]:
    granted: dict[object, dict[object, str]] = {}
    for trial in trials:
        asked = trial.scenario.get("servers", {}).get(trial.server, {}).get("backlog")
        if trial.ready.get("backlog") is not None and trial.model and not _is_udp(trial):
            granted.setdefault(asked, {})[trial.ready["backlog"]] = trial.server
    for asked, by_value in granted.items():
        if len(by_value) > 1:
            pairs = ", ".join(f"{server} {value}" for value, server in by_value.items())
            yield Said("invalid", f"the kernel granted different backlogs where {asked} was asked: {pairs}",
                       "set the same net.core.somaxconn for all servers")  # fmt: skip


def _is_udp(trial: TrialRecord) -> bool:
    return bool(trial.scenario.get("swarm", {}).get("wire") == "datagram")


def _response_bytes(trials: Sequence[TrialRecord]) -> Iterator[Said]:
    """Bytes of an answer, as the swarm read them, at each sweep point; trials with errors have no say."""
    limit = LIMITS["response_bytes"].invalid or 0.0
    at_point: dict[str, dict[str, float]] = {}
    for trial in trials:
        size = _bytes_per_answer(trial)
        if size is not None:
            at_point.setdefault(json.dumps(trial.point, sort_keys=True), {})[trial.server] = size
    for sizes in at_point.values():
        least, most = min(sizes, key=lambda s: sizes[s]), max(sizes, key=lambda s: sizes[s])
        if sizes[most] > sizes[least] * (1 + limit):
            yield Said(
                "invalid",
                f"answers differ in size: {least} {sizes[least]:.0f} bytes, {most} {sizes[most]:.0f} bytes "
                f"(by {percent(sizes[most] / sizes[least] - 1)})",
                "let all servers answer the same bytes, or compare them in runs of their own",
            )


def _bytes_per_answer(trial: TrialRecord) -> float | None:
    assert trial.load is not None
    whole = trial.load.result.get("whole", {})
    if not whole.get("answered") or whole.get("failed") or whole.get("bytes_in") is None:
        return None
    return float(whole["bytes_in"]) / float(whole["answered"])
