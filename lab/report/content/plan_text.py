"""What `lab plan` and `lab show` print: a run before it starts. Pure: a prepared run in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from lab.common.leaves import leaves
from lab.common.units import show_bytes, show_duration
from lab.plan.topology import DEFAULT_MEMORY_BYTES
from lab.report.content.text import plural
from lab.scenario.yaml_file import Keys, show_path

if TYPE_CHECKING:
    from lab.plan.capacity import Requirement
    from lab.plan.prepared import Prepared
    from lab.scenario.resolve import Resolved


# Longer values do not push the origins of all others to the right.
WIDEST = 72


def as_text(prepared: Prepared) -> str:
    """Return the trials in order, what they need of this host, limits, placement and links."""
    scenario, trials = prepared.plan.scenario, prepared.plan.trials
    swarm = scenario.swarm
    lines = [f"{scenario.name}: {scenario.question}" if scenario.question else scenario.name, ""]
    total = show_duration(sum(map(trial_s, trials)))
    lines += [f"{plural(len(trials), 'trial')}, about {total} in all, in this order:"]
    lines += [f"  {index:3}  {trial.id}" for index, trial in enumerate(trials, 1)]
    lines += [
        "",
        *(
            f"load{group.name and f' of {group.name}'}: {plural(group.swarm.users, 'user')} over "
            f"{plural(group.swarm.workers, 'worker')}, {group.swarm.load.describe()}, "
            f"wire {swarm.wire}"
            for group in swarm.all_groups
        ),
    ]
    lines += [
        f"server on CPU {prepared.placement.server}, all else on CPU {prepared.placement.swarm}",
    ]
    if prepared.placement.overlap:
        lines += ["  (one CPU only: the server and the swarm share it; the result will be suspect)"]
    lines += ["", "needed, and here:"]
    for need in prepared.capacity.requirements:
        mark = "ok " if need.enough else "NO "
        lines.append(
            f"  {mark} {need.what.removesuffix(' (bytes)'):36} {_amount(need, need.needed):>12}  "
            f"of {_amount(need, need.available)}"
        )
        if not need.enough:
            lines.append(f"       {need.remedy}")
    limits = prepared.capacity.server_limits
    memory = show_bytes(limits.memory_bytes or DEFAULT_MEMORY_BYTES)
    memory += "" if limits.memory_bytes else " in a container"
    lines += [
        "",
        "every server gets what it writes as a limit, else: "
        f"nofile {limits.nofile}, pids {limits.pids}, memory {memory}",
    ]
    lines += [f"  {name} = {value}" for name, value in prepared.capacity.server_sysctls.items()]
    return "\n".join(lines)


def as_json(prepared: Prepared) -> dict[str, Any]:
    """Return the same as data."""
    return {
        **prepared.plan.to_json(),
        "needs": [{**vars(need), "enough": need.enough} for need in prepared.capacity.requirements],
        "server_limits": vars(prepared.capacity.server_limits),
        "server_sysctls": prepared.capacity.server_sysctls,
        "placement": vars(prepared.placement),
    }


def resolved_text(resolved: Resolved) -> str:
    """Every value of the scenario, as it was written, with where it came from, one a line."""
    rows = []
    for path, value in leaves(resolved.scenario.model_dump(mode="json", by_alias=True)):
        if value is None or value == {}:
            continue
        shown = f"{show_path(path)[:-2]}: {_written(resolved.data, path, value)}"
        origin = "its first comment" if path == ("question",) else resolved.origin(path)
        rows.append((shown, origin))
    width = max(len(shown) for shown, _ in rows if len(shown) <= WIDEST)
    return "\n".join(f"{shown:{width}}  # {origin}" for shown, origin in rows)


def _written(data: Any, path: Keys, value: Any) -> str:
    """With its unit, where somebody wrote it; a built-in value in base units (s, bytes, per second)."""
    for key in path:
        if not isinstance(data, dict) or key not in data:
            data = value
            break
        data = data[key]
    if isinstance(data, list | dict):
        return yaml.safe_dump(
            data, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False
        ).strip()
    return str(data)


def trial_s(trial: Any) -> float:
    """About how many seconds a trial takes, its start and end included."""
    swarm = trial.scenario.swarm
    return float(7 + swarm.users / swarm.spawn_rate + swarm.phases.load_s)


def _amount(need: Requirement, value: int | None) -> str:
    if value is None:
        return "unknown"
    return show_bytes(value) if "(bytes)" in need.what else f"{value:,}"
