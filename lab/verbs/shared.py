"""What the verbs share: arguments and options, printing, finding scenarios and runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.common.errors import LabError, UsageError
from lab.common.paths import LAB_YAML, ROOT, SCENARIOS
from lab.verbs import completion
from lab.verbs.streams import print_err as print_err
from lab.verbs.streams import print_out as print_out

if TYPE_CHECKING:
    from lab.scenario.resolve import Resolved


ScenarioArgument = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A name in scenarios/, or a path to a YAML file.",
        autocompletion=completion.scenarios,
    ),
]
ScenariosArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SCENARIO…", help="Names in scenarios/, or paths.", autocompletion=completion.scenarios
    ),
]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A path, an id or its beginning, latest, latest~1, or a bundle (.tar.gz).",
        autocompletion=completion.runs,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Override a value, such as swarm.users=100 (repeatable)."
    ),
]
ServerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        metavar="NAME",
        help="Run this server of the scenario only (repeatable).",
        autocompletion=completion.servers,
    ),
]
RuntimeOption = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="NAME",
        help="docker, local, or auto, which uses docker.",
        autocompletion=completion.runtimes,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
ResultsOption = Annotated[
    Path | None, typer.Option("--results", metavar="FOLDER", help="The results folder.")
]
CiOption = Annotated[
    str,
    typer.Option(
        "--ci",
        metavar="SYSTEM",
        help="Report to this CI system: auto, github, gitlab or none.",
        autocompletion=completion.ci_systems,
    ),
]
NoCalibrationOption = Annotated[
    bool,
    typer.Option("--no-calibration", help="Skip calibrating the generator's maximum rate."),
]
NoRepeatsOption = Annotated[
    bool, typer.Option("--no-repeats", help="Do not measure a disturbed trial again; it stays INVALID.")
]
UiOption = Annotated[
    bool, typer.Option("--ui", help="Serve Locust's web UI during the run, on 127.0.0.1, with a password.")
]
TrustedOption = Annotated[
    bool,
    typer.Option(
        "--trusted", help="Allow images by tag, not only by digest, and a locustfile in the local runtime."
    ),
]


def error_text(error: LabError) -> str:
    """Return the message of an error with its notes."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def print_json(data: Any) -> None:
    """Print a result as JSON on standard output."""
    print_out(json.dumps(data, indent=1, ensure_ascii=False))


def printable(text: str) -> str:
    """Remove control characters except newlines and tabs where standard output is a terminal."""
    if not sys.stdout.isatty():
        return text
    return "".join(c for c in text if c in "\n\t" or c.isprintable())


def styled(text: str, colour: str) -> str:
    """Colour the text where standard output is a terminal without NO_COLOR (https://no-color.org)."""
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return typer.style(text, fg=colour) if wanted else text


def load(name: str, overrides: list[str] | None = None, runtime: str | None = None) -> tuple[Path, Resolved]:
    """Return a scenario's path, and the scenario with all overrides. Raises UsageError with a position."""
    from lab.scenario import resolve

    path = find_scenario(name)
    resolved = resolve.load(
        path,
        lab_yaml=LAB_YAML,
        environment=os.environ,
        overrides=overrides or (),
        runtime=runtime,
        source=relative(path),
    )
    return path, resolved


def find_scenario(name: str) -> Path:
    """Return the file of a scenario by its name or path. Raises UsageError with the nearest name."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise UsageError(f"{name}: no such file")
        return path
    found = SCENARIOS / f"{name}.yaml"
    if found.is_file():
        return found
    from lab.scenario.strict import unknown

    raise UsageError(unknown(name, completion.scenario_names(), "scenario"))


def scenarios_in(name: str) -> list[str] | None:
    """Return the scenarios of a folder (a path, or a name below scenarios/); None for a scenario."""
    folder = Path(name) if Path(name).is_dir() else SCENARIOS / name
    if not folder.is_dir() or (SCENARIOS / f"{name}.yaml").is_file():
        return None
    found = sorted(str(path) for path in folder.rglob("*.yaml"))
    if not found:
        raise UsageError(f"{name}: there is no scenario in this folder")
    return found


def results_folder(given: Path | None, resolved: Resolved | None = None) -> Path:
    """Return the results folder: the flag, $LAB_RESULTS, lab.yaml, or `results` (relative to the lab)."""
    if given is not None:
        return given
    name = os.environ.get("LAB_RESULTS") or (resolved.settings.results if resolved else _default_results())
    return ROOT / name


def _default_results() -> str:
    from lab.scenario import resolve

    return resolve.load_settings(LAB_YAML).results


def find_run(name: str, results: Path | None) -> Path:
    """Return a run's folder; unpack a bundle into the results folder first. Raises UsageError."""
    from lab.results import store

    folder = results_folder(results)
    if name.endswith(".tar.gz"):
        from lab.results import bundle

        return bundle.unpack(Path(name), folder)
    return store.find(folder, name)


def relative(path: Path) -> str:
    """Return a path relative to the working directory, unless it is further away than its parent."""
    shown = os.path.relpath(path)
    return str(path) if shown.startswith("../..") else shown
