"""A CI matrix, scenario × server: each job runs one server of one scenario. Pure.

`lab merge` joins the runs of the jobs again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import yaml

from lab.common.errors import UsageError
from lab.scenario.scenario import Scenario

# A matrix has at most 256 jobs on GitHub, 200 on GitLab (manuals: `strategy.matrix`, `parallel:matrix`).
MAX_JOBS = {"github": 256, "gitlab": 200}


@dataclass(frozen=True)
class Job:
    """One job: `lab run SCENARIO --server SERVER`. `name` may serve as a file name, such as an artefact's."""

    name: str
    scenario: str
    server: str


def jobs(scenarios: Iterable[tuple[str, Scenario]]) -> list[Job]:
    """Return a job for each server of each scenario (its name for `lab run`, and itself).

    Raises UsageError where two jobs would have the same name.
    """
    found = [
        Job(f"{scenario.name}-{server}", name, server)
        for name, scenario in scenarios
        for server in scenario.servers
    ]
    names = [job.name for job in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"matrix: two jobs would be called {', '.join(twice)}: give each scenario a name of its own"
        )
    return found


def render(found: list[Job], form: str) -> str:
    """Return the matrix as text for `github`, `gitlab` or `json`. Raises UsageError."""
    if form not in FORMS:
        raise UsageError(f"matrix: unknown format {form!r}: choose one of {', '.join(FORMS)}")
    if len(found) > MAX_JOBS.get(form, len(found)):
        raise UsageError(f"matrix: {len(found)} jobs, {form} takes {MAX_JOBS[form]}: name fewer scenarios")
    return FORMS[form](found)


def _json(found: list[Job]) -> str:
    return json.dumps([asdict(job) for job in found], indent=1)


def _github(found: list[Job]) -> str:
    """Return one line, for `matrix: ${{ fromJSON(…) }}`."""
    return json.dumps({"include": [asdict(job) for job in found]}, separators=(",", ":"))


def _gitlab(found: list[Job]) -> str:
    """Return a child pipeline; its jobs extend `.lab-run` and `.lab-merge` of the file that it includes."""
    servers: dict[str, list[str]] = {}
    for job in found:
        servers.setdefault(job.scenario, []).append(job.server)
    pipeline = {
        "include": [{"local": "docs/ci/gitlab-jobs.yml"}],
        "stages": ["measure", "merge"],
        "measure": {
            "extends": ".lab-run",
            "parallel": {"matrix": [{"SCENARIO": [name], "SERVER": each} for name, each in servers.items()]},
        },
        "merge": {"extends": ".lab-merge"},
    }
    return yaml.safe_dump(pipeline, sort_keys=False, width=110).rstrip()


FORMS: Mapping[str, Callable[[list[Job]], str]] = {"github": _github, "gitlab": _gitlab, "json": _json}
