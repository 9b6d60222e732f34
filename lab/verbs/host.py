"""This host: `doctor`, `images`, `down`, `version`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.common.errors import Exit, LabError, UsageError
from lab.common.paths import LAB_YAML
from lab.verbs import completion, shared
from lab.verbs.shared import JsonOption, ResultsOption

if TYPE_CHECKING:
    from lab.doctor import Row

COLOURS = {"ok": "green", "warn": "yellow", "bad": "red"}


def doctor(
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Fix what is safe: start the engine, build images, remove leftovers."),
    ] = False,
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Check whether this host is fit: what it lacks, and what to run. Exit code 3 if not.

    \b
    Examples:
      lab doctor
      lab doctor --fix
      lab doctor --json | jq '.[] | select(.level != "ok")'
    """
    from lab import doctor as diagnosis
    from lab.doctor import facts
    from lab.scenario import resolve

    if fix:
        try:
            facts.fix(shared.print_err)
        except LabError as error:
            shared.print_err(f"not fixed: {error}")
    pool = resolve.load_settings(LAB_YAML).network_pool
    rows = diagnosis.examine(facts.read(shared.results_folder(results), pool))
    if as_json:
        shared.print_json([row.to_json() for row in rows])
    else:
        shared.print_out("\n".join(_diagnosis(rows)))
        shared.print_err(f"\n{_conclusion(rows)}")
    return Exit.HOST_CANNOT if diagnosis.worst(rows) == "bad" else Exit.OK


def _diagnosis(rows: list[Row]) -> Iterator[str]:
    width = max(len(row.name) for row in rows)
    indent = " " * (width + 7)
    for row in rows:
        yield f"{shared.styled(f'{row.level:4}', COLOURS[row.level])}  {row.name:{width}} {row.found}"
        yield f"{indent}{shared.styled(row.means, 'bright_black')}"
        if row.do:
            yield f"{indent}do: {row.do}"


def _conclusion(rows: list[Row]) -> str:
    bad, warned = (sum(row.level == level for row in rows) for level in ("bad", "warn"))
    if bad:
        are = "is" if bad == 1 else "are"
        return f"not fit: {bad} of {len(rows)} {are} bad; `lab doctor --fix` fixes what it safely can"
    have = "has" if warned == 1 else "have"
    return "fit" + (f"; {warned} of {len(rows)} {have} a warning" if warned else "")


def images(
    as_environment: Annotated[
        bool, typer.Option("--env", help="Print lines of an .env file, for the files in compose/.")
    ] = False,
) -> int:
    """Build the missing images; start the Docker engine if necessary.

    \b
    Examples:
      lab images
      lab images --env > compose/.env
    """
    from lab.engine import connect
    from lab.engine import images as building

    client = connect.ensure(shared.print_err)
    try:
        for name, tag in building.build(client, ["server", "swarm", "nettools"], shared.print_err).items():
            shared.print_out(f"LAB_IMAGE_{name.upper()}={tag}" if as_environment else f"{name:9} {tag}")
    finally:
        client.close()
    return Exit.OK


def down(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="Remove this run's containers and networks, even if it is running.",
            autocompletion=completion.up_runs,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove what killed runs left.")] = False,
    stop_engine: Annotated[
        bool, typer.Option("--engine", help="Stop the engine that the lab started.")
    ] = False,
) -> int:
    """Remove what runs left on this host, never anything else.

    \b
    Examples:
      lab down up-smoke-3f9a
      lab down --all --engine
    """
    from lab.engine import connect
    from lab.runtime import cleanup

    if not run and not everything and not stop_engine:
        raise UsageError("down: name a run, or give --all (or --engine)")
    client = connect.connect()
    if client is None and not stop_engine:
        shared.print_err("no Docker engine answers: removing processes only")
    try:
        if run or everything:
            cleanup.down(client, None if everything or not run else _full_id(client, run), shared.print_err)
    finally:
        if client is not None:
            client.close()
    if stop_engine:
        connect.stop(shared.print_err)
    return Exit.OK


def _full_id(client: Any, run: str) -> str:
    """Return the id that begins with `run`, of what is up; else `run` itself. Raises UsageError."""
    from lab.run import attach

    found = {row.run for row in attach.nodes(client) if row.run.startswith(run)}
    if len(found) > 1 and run not in found:
        raise UsageError(f"{run!r} is ambiguous: {', '.join(sorted(found))}")
    return found.pop() if len(found) == 1 else run


def version() -> int:
    """Print the lab's version."""
    from lab import __version__

    shared.print_out(__version__)
    return Exit.OK
