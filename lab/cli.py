"""The `lab` command: verbs, exit codes, and the only place that prints."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.errors import Exit, LabError, UsageError

if TYPE_CHECKING:
    from lab.analysis.model import Summary
    from lab.settings import Resolved

app = typer.Typer(
    help="What does each Unix I/O model really cost, at 10 connections and at 100,000?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A name in scenarios/, or a path to a YAML file.")
]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A path, an id, a unique prefix, latest or latest~1.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value: swarm.users=100")
]
ServerOption = Annotated[
    list[str] | None, typer.Option("--server", help="Only this server of the scenario (repeatable).")
]
RuntimeOption = Annotated[str | None, typer.Option("--runtime", help="auto, docker or local.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
ResultsOption = Annotated[Path | None, typer.Option("--results", help="The results folder.")]


def main() -> None:
    """Entry point: one clear line per error, and its exit code."""
    try:
        sys.exit(app(standalone_mode=False))
    except LabError as error:
        say(f"lab: {error}")
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(Exit.INTERRUPTED)
    except KeyboardInterrupt:
        say("lab: interrupted")
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away (`lab … | head`): nothing left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)
    except OSError as error:
        say(f"lab: {error.filename or 'system'}: {error.strerror or error}")
        sys.exit(Exit.INTERNAL)
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("click", "typer"):
            raise
        error.show()  # type: ignore[attr-defined]
        sys.exit(Exit.USAGE)


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(text, file=sys.stderr, flush=True)


def out(text: str) -> None:
    """A result, on standard output."""
    print(text, flush=True)


@app.command()
def run(
    scenario: ScenarioArgument,
    runtime: RuntimeOption = None,
    overrides: SetOption = None,
    server: ServerOption = None,
    results: ResultsOption = None,
    trusted: Annotated[bool, typer.Option("--trusted", help="Allow images by tag.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Run a scenario and report. Example: lab run c10k --server epoll_lt --set swarm.users=1000"""
    from rich.console import Console

    from lab import report, session
    from lab.report.live import make_view

    path, resolved = _load(scenario, overrides, runtime)
    request = session.Request(
        scenario=path,
        runtime=resolved.settings.runtime,
        results=_results(results, resolved),
        argv=sys.argv[1:],
        trusted=trusted,
    )
    prepared = session.prepare(resolved, tuple(server or ()))
    console = Console(stderr=True)
    view = make_view(console, plain=not console.is_terminal or "CI" in os.environ)
    with _signals(), view:
        folder = session.run(prepared, request, view, view.step)
    summary = report.write_all(folder)
    _show(summary, folder, as_json)
    return summary.exit_code


@app.command()
def plan(
    scenario: ScenarioArgument,
    overrides: SetOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> int:
    """What a run would do and need; nothing is started. Exit 3 where this host cannot hold it."""
    from lab import session
    from lab.report import planned

    _, resolved = _load(scenario, overrides, None)
    prepared = session.prepare(resolved, tuple(server or ()))
    if as_json:
        out(json.dumps(planned.as_json(prepared), indent=1))
    else:
        out(planned.as_text(prepared))
    prepared.capacity.require()
    return Exit.OK


@app.command()
def validate(scenarios: Annotated[list[str], typer.Argument(metavar="SCENARIO…")]) -> int:
    """Check scenarios without running them. One error with its position, or nothing."""
    for name in scenarios:
        path, _ = _load(name, None, None)
        say(f"{path}: valid")
    return Exit.OK


@app.command()
def show(scenario: ScenarioArgument, overrides: SetOption = None, as_json: JsonOption = False) -> int:
    """The resolved scenario, and where each value came from."""
    from lab.report import planned

    _, resolved = _load(scenario, overrides, None)
    if as_json:
        out(resolved.scenario.model_dump_json(indent=1))
    else:
        out(planned.resolved_text(resolved))
    return Exit.OK


@app.command("list")
def list_scenarios(as_json: JsonOption = False) -> int:
    """The scenarios that come with the lab, and the question each one asks."""
    from lab.settings import first_comment

    found = {path.stem: first_comment(path) for path in sorted(_scenarios().rglob("*.yaml"))}
    if as_json:
        out(json.dumps(found, indent=1))
    else:
        width = max(map(len, found), default=0)
        out("\n".join(f"{name:{width}}  {question}" for name, question in found.items()))
    return Exit.OK


@app.command()
def models(as_json: JsonOption = False) -> int:
    """The catalog of I/O models."""
    from lab import catalog

    known = catalog.models()
    if as_json:
        out(json.dumps({name: model.model_dump(mode="json") for name, model in known.items()}, indent=1))
    else:
        out("\n".join(f"{m.name:12} {m.family:14} {m.summary}" for m in known.values()))
    return Exit.OK


@app.command()
def runs(results: ResultsOption = None, as_json: JsonOption = False) -> int:
    """The runs in the results folder, newest last, with their verdicts."""
    from lab import store

    rows = []
    for path in store.list_runs(_results(results, None)):
        file = path / "summary.json"
        summary = json.loads(file.read_text()) if file.exists() else {}
        rows.append({"run": path.name, "verdict": summary.get("verdict", "UNKNOWN")})
    out(json.dumps(rows, indent=1) if as_json else "\n".join(f"{r['verdict']:13} {r['run']}" for r in rows))
    return Exit.OK


@app.command()
def report(run: RunArgument = "latest", results: ResultsOption = None, as_json: JsonOption = False) -> int:
    """Rebuild every report of a run from its raw records and show the table."""
    from lab import report as reports
    from lab import store

    folder = store.find(_results(results, None), run)
    summary = reports.write_all(folder)
    _show(summary, folder, as_json)
    return summary.exit_code


@app.command()
def images() -> int:
    """Build the images that are missing; start the engine if need be."""
    from lab import engine
    from lab import images as building

    client = engine.ensure(say)
    for name, tag in building.build(client, ["server", "swarm", "nettools"], say).items():
        out(f"{name:9} {tag}")
    client.close()
    return Exit.OK


@app.command()
def down(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Remove what this run left.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove what any run left.")] = False,
    stop_engine: Annotated[
        bool, typer.Option("--engine", help="Stop the engine that the lab started.")
    ] = False,
) -> int:
    """Remove containers and networks that the lab left behind; never anything else."""
    from lab import engine
    from lab.runtime import cleanup

    if not run and not everything and not stop_engine:
        raise UsageError("down: name a run, or give --all (or --engine)")
    client = engine.connect()
    if client is not None:
        if run or everything:
            cleanup.down(client, None if everything else run, say)
        client.close()
    elif not stop_engine:
        say("no Docker engine answers: nothing to remove")
    if stop_engine:
        engine.stop(say)
    return Exit.OK


@app.command()
def version() -> int:
    """The lab's version."""
    from lab import __version__

    out(__version__)
    return Exit.OK


def _scenarios() -> Path:
    from lab.catalog import ROOT

    return ROOT / "scenarios"


def _load(name: str, overrides: list[str] | None, runtime: str | None) -> tuple[Path, Resolved]:
    from lab import settings
    from lab.catalog import ROOT

    path = _find_scenario(name)
    shown = os.path.relpath(path)
    resolved = settings.load(
        path,
        lab_yaml=ROOT / "lab.yaml",
        environment=os.environ,
        overrides=overrides or (),
        runtime=runtime,
        source=shown if not shown.startswith("../..") else str(path),
    )
    return path, resolved


def _find_scenario(name: str) -> Path:
    from lab.catalog import unknown

    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.exists():
        if not path.is_file():
            raise UsageError(f"{name}: no such file")
        return path
    folder = _scenarios()
    found = folder / f"{name}.yaml"
    if found.is_file():
        return found
    known = sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml"))
    raise UsageError(unknown(name, known, "scenario"))


def _results(given: Path | None, resolved: Resolved | None) -> Path:
    from lab.catalog import ROOT

    if given is not None:
        return given
    name = os.environ.get("LAB_RESULTS") or (resolved.settings.results if resolved else "results")
    return ROOT / name


def _show(summary: Summary, folder: Path, as_json: bool) -> None:
    from rich.console import Console

    from lab.report.terminal import table

    if as_json:
        out(summary.model_dump_json(indent=1))
    else:
        table(summary, Console())
    shown = os.path.relpath(folder)
    say(f"\nreport: {shown}/report.html   summary: {shown}/summary.json")


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run as Ctrl-C does; the third signal ends at once: the watchdog cleans up."""
    count = 0

    def interrupt(number: int, _: Any) -> None:
        nonlocal count
        count += 1
        if count >= 3:
            os._exit(Exit.INTERRUPTED)
        say(f"\nlab: {signal.Signals(number).name}: cleaning up (again to hurry)")
        raise KeyboardInterrupt

    handlers: dict[int, Callable[..., Any] | int | None] = {}
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        handlers[each] = signal.signal(each, interrupt)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
