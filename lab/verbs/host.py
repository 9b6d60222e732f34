"""This host: `doctor`, `images`, `down`, `version`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.common.errors import Exit, LabError, UsageError
from lab.common.paths import ROOT
from lab.verbs import completion, shared
from lab.verbs.shared import JsonOption, ResultsOption

if TYPE_CHECKING:
    from lab.doctor import Row

COLOURS = {"ok": "green", "warn": "yellow", "bad": "red"}


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what is safe: start the engine, build images, clear away.")
    ] = False,
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Is this host fit? What it lacks, and what to run. Exit 3 if it is not.

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
            facts.fix(shared.say)
        except LabError as error:
            shared.say(f"could not be mended: {error}")
    pool = resolve.load_settings(ROOT / "lab.yaml").network_pool
    rows = diagnosis.examine(facts.read(shared.results_folder(results), pool))
    if as_json:
        shared.out_json([row.to_json() for row in rows])
    else:
        shared.out("\n".join(_diagnosis(rows)))
        shared.say(f"\n{_conclusion(rows)}")
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
    bad, doubtful = (sum(row.level == level for row in rows) for level in ("bad", "warn"))
    if bad:
        return f"not fit: mend what is bad ({bad}), or let `lab doctor --fix` mend what it can"
    return "fit" + (f"; {doubtful} of {len(rows)} could be better" if doubtful else "")


def images(
    as_environment: Annotated[
        bool, typer.Option("--env", help="As lines of an .env file, for the files in compose/.")
    ] = False,
) -> int:
    """Build the missing images; start the engine if need be.

    \b
    Examples:
      lab images
      lab images --env > compose/.env
    """
    from lab.engine import connect
    from lab.engine import images as building

    client = connect.ensure(shared.say)
    try:
        for name, tag in building.build(client, ["server", "swarm", "nettools"], shared.say).items():
            shared.out(f"LAB_IMAGE_{name.upper()}={tag}" if as_environment else f"{name:9} {tag}")
    finally:
        client.close()
    return Exit.OK


def down(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="Remove this run, even if it lives.", autocompletion=completion.up_runs
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove what any dead run left.")] = False,
    stop_engine: Annotated[
        bool, typer.Option("--engine", help="Stop the engine that the lab started.")
    ] = False,
) -> int:
    """Remove what the lab left behind, never anything else.

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
        shared.say("no Docker engine answers: looking for processes only")
    try:
        if run or everything:
            cleanup.down(client, None if everything or not run else _whole(client, run), shared.say)
    finally:
        if client is not None:
            client.close()
    if stop_engine:
        connect.stop(shared.say)
    return Exit.OK


def _whole(client: Any, run: str) -> str:
    """The id that `run` begins, of what is up; `run` itself where none does. Raises UsageError."""
    from lab.run import attach

    found = {row.run for row in attach.nodes(client) if row.run.startswith(run)}
    if len(found) > 1 and run not in found:
        raise UsageError(f"{run!r} could be {', '.join(sorted(found))}: give more of it")
    return found.pop() if len(found) == 1 else run


def version() -> int:
    """The lab's version."""
    from lab import __version__

    shared.out(__version__)
    return Exit.OK
