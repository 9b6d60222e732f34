"""A scenario × server matrix for CI: each cell is one job that runs one server of one scenario. Pure.

`lab merge` joins the jobs' runs again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import yaml

from lab.common.errors import UsageError
from lab.scenario.scenario import Scenario

# GitHub takes 256 jobs in a matrix, GitLab 200 (their manuals on `strategy.matrix` and `parallel:matrix`).
MOST = {"github": 256, "gitlab": 200}


@dataclass(frozen=True)
class Cell:
    """One job: `lab run SCENARIO --server SERVER`. `name` may be a file name, as of an artefact."""

    name: str
    scenario: str
    server: str


def cells(scenarios: Iterable[tuple[str, Scenario]]) -> list[Cell]:
    """Every server of every scenario; the text is how `lab run` takes the scenario. Raises UsageError."""
    found = [
        Cell(f"{scenario.name}-{server}", name, server)
        for name, scenario in scenarios
        for server in scenario.servers
    ]
    names = [cell.name for cell in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"matrix: {', '.join(twice)} would be there twice: give each scenario a name of its own"
        )
    return found


def rendered(found: list[Cell], form: str) -> str:
    """The matrix as text for `github`, `gitlab` or `json`. Raises UsageError."""
    if form not in FORMS:
        raise UsageError(f"matrix: no format {form!r}: there are {', '.join(FORMS)}")
    if len(found) > MOST.get(form, len(found)):
        raise UsageError(
            f"matrix: {len(found)} jobs, {form} takes {MOST[form]}: give fewer scenarios at once"
        )
    return FORMS[form](found)


def _json(found: list[Cell]) -> str:
    return json.dumps([asdict(cell) for cell in found], indent=1)


def _github(found: list[Cell]) -> str:
    """One line, for `matrix: ${{ fromJSON(…) }}`."""
    return json.dumps({"include": [asdict(cell) for cell in found]}, separators=(",", ":"))


def _gitlab(found: list[Cell]) -> str:
    """A child pipeline, whose jobs extend `.lab-run` and `.lab-merge` of the file that it includes."""
    servers: dict[str, list[str]] = {}
    for cell in found:
        servers.setdefault(cell.scenario, []).append(cell.server)
    jobs = {
        "include": [{"local": "docs/ci/gitlab-jobs.yml"}],
        "stages": ["measure", "merge"],
        "measure": {
            "extends": ".lab-run",
            "parallel": {"matrix": [{"SCENARIO": [name], "SERVER": each} for name, each in servers.items()]},
        },
        "merge": {"extends": ".lab-merge"},
    }
    return yaml.safe_dump(jobs, sort_keys=False, width=110).rstrip()


FORMS: Mapping[str, Callable[[list[Cell]], str]] = {"github": _github, "gitlab": _gitlab, "json": _json}
