"""Scenarios: `list`, `show`, `validate`, `models`, `graph`, `compose`, `matrix`, `schema`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.common.errors import Exit, UsageError
from lab.common.paths import ROOT
from lab.verbs import completion, shared
from lab.verbs.shared import JsonOption, ScenarioArgument, ScenariosArgument, SetOption, TrustedOption

if TYPE_CHECKING:
    from lab.scenario.resolve import Resolved


def validate(
    scenarios: ScenariosArgument, trusted: TrustedOption = False, as_json: JsonOption = False
) -> int:
    """Check scenarios without running them: print `valid`, or one error with its position.

    \b
    Examples:
      lab validate mine.yaml c10k
      lab validate scenarios
      lab validate mine.yaml --json
    """
    found = {name: _error(name, trusted) for name in _with_folders(scenarios)}
    if as_json:
        rows = [{"scenario": name, "valid": not error, "error": error} for name, error in found.items()]
        shared.print_json(rows)
    else:
        for name, error in found.items():
            valid = f"{shared.relative(shared.find_scenario(name))}: valid" if not error else ""
            shared.print_err(valid or f"lab: {error}")
    return Exit.USAGE if any(found.values()) else Exit.OK


def _error(name: str, trusted: bool) -> str | None:
    from lab.scenario import trust

    try:
        _, resolved = shared.load(name)
        if not trusted:
            trust.require_digests(resolved)
    except UsageError as error:
        return shared.error_text(error)
    return None


def _with_folders(names: list[str]) -> list[str]:
    return [each for name in names for each in shared.scenarios_in(name) or [name]]


def show(scenario: ScenarioArgument, overrides: SetOption = None, as_json: JsonOption = False) -> int:
    """Show a scenario with all its values, and where each value comes from.

    \b
    Example:
      lab show c10k --set swarm.users=100
    """
    from lab.report.content import plan_text

    _, resolved = shared.load(scenario, overrides)
    if as_json:
        shared.print_out(resolved.scenario.model_dump_json(indent=1))
    else:
        shared.print_out(plan_text.resolved_text(resolved))
    return Exit.OK


def list_scenarios(as_json: JsonOption = False) -> int:
    """List the lab's scenarios and the question of each."""
    from lab.scenario.resolve import first_comment
    from lab.verbs.completion import scenario_names

    found = {name: first_comment(shared.find_scenario(name)) for name in scenario_names()}
    if as_json:
        shared.print_json(found)
    else:
        width = max(map(len, found), default=0)
        shared.print_out("\n".join(f"{name:{width}}  {question}" for name, question in found.items()))
    return Exit.OK


def models(as_json: JsonOption = False) -> int:
    """List the I/O models."""
    from lab.scenario import catalog

    known = catalog.models()
    if as_json:
        shared.print_json({name: model.model_dump(mode="json") for name, model in known.items()})
    else:
        shared.print_out("\n".join(f"{m.name:12} {m.family:14} {m.summary}" for m in known.values()))
    return Exit.OK


def graph(scenario: ScenarioArgument, overrides: SetOption = None) -> int:
    """Print the first trial's topology as a Mermaid diagram.

    \b
    Example:
      lab graph c10k > c10k.mmd
    """
    from lab.export import mermaid as drawing
    from lab.plan import plan

    _, resolved = shared.load(scenario, overrides)
    shared.print_out(drawing.mermaid(resolved, plan.expand(resolved)).rstrip())
    return Exit.OK


def compose(
    scenario: Annotated[
        str | None,
        typer.Argument(metavar="[SCENARIO]", help="A name or a path.", autocompletion=completion.scenarios),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write this file, and the seccomp profile beside it."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Write the files in compose/ again, for every scenario.")
    ] = False,
    overrides: SetOption = None,
    trusted: TrustedOption = False,
) -> int:
    """Write the first trial's topology as a Compose file, without links.

    \b
    Examples:
      lab compose c10k -o /tmp/c10k/c10k.yaml
      lab compose --all
    """
    from lab.export import compose as composing

    if every and (scenario or output or overrides):
        raise UsageError("compose --all: writes every scenario as it is: give no SCENARIO, -o or --set")
    if every:
        for name, file_name in composing.file_names(completion.scenario_names()).items():
            _compose_file(name, ROOT / "compose" / file_name, None, trusted)
        return Exit.OK
    if scenario is None:
        raise UsageError("compose: name a scenario, or give --all")
    if output is not None:
        _compose_file(scenario, output, overrides, trusted)
        return Exit.OK
    resolved = _composable(scenario, overrides, trusted)
    shared.print_out(composing.compose(resolved, f"{resolved.scenario.name}.yaml").rstrip())
    return Exit.OK


def _composable(scenario: str, overrides: list[str] | None, trusted: bool) -> Resolved:
    """Return a scenario whose Compose file starts no image by tag, unless it is trusted."""
    from lab.scenario import trust

    _, resolved = shared.load(scenario, overrides)
    if not trusted:
        trust.require_digests(resolved)
    return resolved


def _compose_file(scenario: str, output: Path, overrides: list[str] | None, trusted: bool) -> None:
    from lab.export import compose as composing
    from lab.results.store import write_atomically

    resolved = _composable(scenario, overrides, trusted)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, composing.compose(resolved, output.name))
    for name, text in composing.profile_files(resolved).items():
        write_atomically(output.parent / name, text)
    shared.print_err(f"written: {shared.relative(output)}")


def matrix(
    scenarios: ScenariosArgument,
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORM", help="github, gitlab or json.", autocompletion=completion.matrix_forms
        ),
    ] = "json",
) -> int:
    """Print the CI jobs of scenarios: one per scenario and server.

    \b
    Examples:
      lab matrix smoke c10k --format github
      lab matrix smoke c10k --format gitlab > pipeline.yml
    """
    from lab.export import ci_matrix

    loaded = [(name, shared.load(name)[1].scenario) for name in _with_folders(scenarios)]
    shared.print_out(ci_matrix.render(ci_matrix.jobs(loaded), form))
    return Exit.OK


def schema(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="scenario, settings or summary.", autocompletion=completion.schemas
        ),
    ] = "scenario",
    write: Annotated[bool, typer.Option("--write", help="Write all files lab/schema/*.json again.")] = False,
) -> int:
    """Print the JSON Schema of a scenario, of lab.yaml, or of summary.json.

    \b
    Examples:
      lab schema summary > summary.schema.json
      lab schema --write
    """
    from lab import schema as schemas
    from lab.results.store import write_atomically

    if not write:
        shared.print_out(schemas.text(name).rstrip())
        return Exit.OK
    for each in schemas.SCHEMAS:
        write_atomically(schemas.FOLDER / f"{each}.json", schemas.text(each))
        shared.print_err(f"written: {shared.relative(schemas.FOLDER / each)}.json")
    return Exit.OK
