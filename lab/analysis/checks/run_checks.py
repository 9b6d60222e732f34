"""Checks of the run: is it complete, can it be repeated, did all servers get the same conditions?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from lab.analysis.checks.limits import LIMITS
from lab.analysis.checks.trial_view import NoData, Result
from lab.analysis.env_diff import several_machines
from lab.analysis.model import Level, Summary
from lab.common.units import show_percent
from lab.results.fact_labels import label
from lab.results.manifest import Environment
from lab.results.record import Run, TrialRecord

PROVENANCE = ("seed", "scenario_sha256", "argv", "plan", "environment")
ENVIRONMENT = ("lab", "python", "host", "placement")
# `interrupt_time` is left out: few kernels tell their configuration.
HOST = ("boot_id", "machine_id", "governor", "smt", "clock_source", "transparent_hugepages")
SETTINGS = ("backlog", "cpus", "memory", "nofile", "pids", "workers")


def complete(run: Run, _: Summary) -> Iterator[Result]:
    """Every trial of the plan has a record."""
    planned = {trial.id: trial.source for trial in run.manifest.plan.trials}
    if not planned:
        raise NoData("the plan was not recorded")
    there = {trial.id for trial in run.trials} | {damage.trial for damage in run.damaged}
    missing = [name for name in planned if name not in there]
    if aborted := run.manifest.aborted:
        ended = aborted.sources or (None,)  # of merged runs, those that ended early
        skipped = [name for name in missing if planned[name] in ended]
        missing = [name for name in missing if planned[name] not in ended]
        yield Result(
            "suspect",
            f"the run ended at {aborted.trial}, {len(skipped)} of {len(planned)} trials were not run: "
            f"{aborted.says}",
            "run without abort_on_fail to measure the rest",
        )
    if missing:
        few = ", ".join(missing[:4]) + (" …" if len(missing) > 4 else "")
        yield Result(
            "unknown", f"{len(missing)} of {len(planned)} trials have no record: {few}", "repeat the run"
        )


def readable(run: Run, _: Summary) -> Iterator[Result]:
    """Every record can be read."""
    for damage in run.damaged:
        level: Level = "unknown" if damage.lost else "suspect"
        yield Result(
            level, damage.says, "measure this trial again: the others count as usual", trial=damage.trial
        )


def repeated(run: Run, _: Summary) -> Iterator[Result]:
    """Trials that were measured again after a disturbance from outside the server."""
    if run.repeated:
        each = "; ".join(f"{one.trial}: {one.says}" for one in run.repeated)
        count = len(run.repeated)
        what = "1 trial was" if count == 1 else f"{count} trials were"
        yield Result(
            "suspect",
            f"{what} disturbed and measured again ({each})",
            "see the disturbed records in repeated/, and run on a quieter host",
        )


def machines(run: Run, _: Summary) -> Iterator[Result]:
    """All trials come from one machine: figures of different machines are not comparable."""
    if several_machines(run):
        yield Result(
            "suspect",
            f"the trials come from {run.manifest.machines} different machines",
            "compare only servers that were measured on one machine",
        )


def provenance(run: Run, _: Summary) -> Iterator[Result]:
    """Everything that is needed to repeat the run was recorded."""
    environment = run.manifest.environment or Environment()
    missing = [name for name in PROVENANCE if getattr(run.manifest, name) is None]
    missing += [f"environment.{name}" for name in ENVIRONMENT if getattr(environment, name) is None]
    if environment.host is not None:
        missing += [f"environment.host.{name}" for name in HOST if getattr(environment.host, name) is None]
    if environment.engine and not environment.images:
        missing.append("environment.images")
    if missing:
        yield Result(
            "suspect",
            f"not recorded: {', '.join(map(label, missing))}",
            "do not call the run repeatable: what was not recorded cannot be compared",
        )


def fairness(run: Run, _: Summary) -> Iterator[Result]:
    """All servers of the run have the same backlog, limits and response bytes (Heiser)."""
    trials = [trial for trial in run.trials if trial.load is not None]
    for name in SETTINGS:
        values = _by_server(trials, name)
        if len(set(values.values())) > 1:
            pairs = ", ".join(f"{server} {value}" for server, value in values.items())
            yield Result(
                "suspect",
                f"the scenario gives servers different `{name}`: {pairs}",
                f"give all servers the same `{name}`, or name it wherever you report how they differ",
            )
    yield from _granted_backlogs(trials)
    yield from _response_bytes(trials)


def _by_server(trials: Sequence[TrialRecord], name: str) -> dict[str, str]:
    """Each server's setting as JSON; empty for a sweep, whose points differ by design."""
    found: dict[str, str] = {}
    for trial in trials:
        if not trial.point:
            found[trial.server] = json.dumps(getattr(trial.settings, name))
    return found


def _granted_backlogs(trials: Sequence[TrialRecord]) -> Iterator[Result]:
    granted: dict[int, dict[int, str]] = {}  # requested → granted → a server
    for trial in trials:
        backlog = trial.ready.backlog if trial.ready else None
        if backlog is not None and trial.model and not _is_udp(trial):
            granted.setdefault(trial.settings.backlog, {})[backlog] = trial.server
    if len({trial.server for trial in trials}) > 1:
        blind = {t.server for t in trials if t.model and not _is_udp(t) and not (t.ready and t.ready.backlog)}
        for server in sorted(blind):
            yield Result("unknown", f"not checked: the backlog that {server} was granted was not recorded")
    for asked, by_value in granted.items():
        if len(by_value) > 1:
            pairs = ", ".join(f"{server} {value}" for value, server in by_value.items())
            message = f"the kernel granted different backlogs for the requested {asked}: {pairs}"
            yield Result(
                "invalid",
                message,
                "measure them again in one run: net.core.somaxconn changed between the trials",
            )


def _is_udp(trial: TrialRecord) -> bool:
    return trial.scenario.swarm.wire == "datagram"


def _response_bytes(trials: Sequence[TrialRecord]) -> Iterator[Result]:
    """Bytes per answer at each sweep point, as the swarm read them; trials with errors are left out."""
    limit = LIMITS["response_bytes"].invalid or 0.0
    at_point: dict[str, dict[str, float]] = {}
    for trial in trials:
        size = _bytes_per_answer(trial)
        if size is not None:
            at_point.setdefault(json.dumps(trial.point, sort_keys=True), {})[trial.server] = size
    for sizes in at_point.values():
        least, most = min(sizes, key=lambda s: sizes[s]), max(sizes, key=lambda s: sizes[s])
        if sizes[most] > sizes[least] * (1 + limit):
            yield Result(
                "invalid",
                f"answers differ in size: {least} {sizes[least]:.0f} bytes, {most} {sizes[most]:.0f} bytes "
                f"(by {show_percent(sizes[most] / sizes[least] - 1)})",
                "make all servers answer the same bytes, or compare them in separate runs",
            )


def _bytes_per_answer(trial: TrialRecord) -> float | None:
    assert trial.load is not None
    whole = trial.load.result.whole
    if whole is None or not whole.answered or whole.failed or whole.bytes_in is None:
        return None
    return whole.bytes_in / whole.answered
