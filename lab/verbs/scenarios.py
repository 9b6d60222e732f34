"""Asking about scenarios: `validate`, `show`, `list`, `models`."""

from __future__ import annotations

from lab.errors import Exit
from lab.verbs import shared
from lab.verbs.shared import JsonOption, ScenarioArgument, ScenariosArgument, SetOption


def validate(scenarios: ScenariosArgument) -> int:
    """Check scenarios without running them. One error with its position, or nothing.

    \b
    Example:
      lab validate mine.yaml c10k
    """
    for name in scenarios:
        path, _ = shared.load(name)
        shared.say(f"{path}: valid")
    return Exit.OK


def show(scenario: ScenarioArgument, overrides: SetOption = None, as_json: JsonOption = False) -> int:
    """The resolved scenario, and where each value came from.

    \b
    Example:
      lab show c10k --set swarm.users=100
    """
    from lab.report import planned

    _, resolved = shared.load(scenario, overrides)
    if as_json:
        shared.out(resolved.scenario.model_dump_json(indent=1))
    else:
        shared.out(planned.resolved_text(resolved))
    return Exit.OK


def list_scenarios(as_json: JsonOption = False) -> int:
    """The scenarios that come with the lab, and the question each one asks."""
    from lab.settings import first_comment
    from lab.verbs.completion import scenario_names

    found = {name: first_comment(shared.find_scenario(name)) for name in scenario_names()}
    if as_json:
        shared.out_json(found)
    else:
        width = max(map(len, found), default=0)
        shared.out("\n".join(f"{name:{width}}  {question}" for name, question in found.items()))
    return Exit.OK


def models(as_json: JsonOption = False) -> int:
    """The catalog of I/O models."""
    from lab import catalog

    known = catalog.models()
    if as_json:
        shared.out_json({name: model.model_dump(mode="json") for name, model in known.items()})
    else:
        shared.out("\n".join(f"{m.name:12} {m.family:14} {m.summary}" for m in known.values()))
    return Exit.OK
