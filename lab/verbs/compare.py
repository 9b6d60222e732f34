"""`compare`: base against head, stored runs, two servers of one run, or two versions measured now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.errors import Exit, UsageError
from lab.verbs import completion, shared
from lab.verbs.shared import JsonOption, ResultsOption

if TYPE_CHECKING:
    from lab.analysis.compare import Gate
    from lab.analysis.comparison import Comparison


def compare(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="BASE HEAD…", help="Runs; with --within two servers.", autocompletion=completion.runs
        ),
    ],
    within: Annotated[
        str | None,
        typer.Option(
            "--within", metavar="RUN", help="Two servers of this run.", autocompletion=completion.runs
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Decide by this metric alone (repeatable)."),
    ] = None,
    detect: Annotated[
        str | None,
        typer.Option("--detect", metavar="SHARE", help="Refuse to gate if so much worse went unseen: 20%."),
    ] = None,
    fail: Annotated[
        bool,
        typer.Option("--fail-on-regression", help="Gate: exit 99 on a regression, 5 if none could be seen."),
    ] = False,
    output: Annotated[
        list[Path] | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it: .md, .html or .json (repeatable)."),
    ] = None,
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Base against head: what changed, by how much, and whether that is a regression.

    Without --fail-on-regression or --detect the exit code is 0 whatever is found.

    \b
    Examples:
      lab compare latest~1 latest
      lab compare main-run one-run other-run --metric cpu_us_per_request -o compare.md
      lab compare --within latest thread epoll_lt --fail-on-regression --detect 20%
    """
    gate = _gate(metric, detect)
    for file in output or ():
        if file.suffix not in WRITERS:
            raise UsageError(f"-o {file}: the name ends with {', '.join(WRITERS)}")
    made = _within(within, what, gate, results) if within else _runs(what, gate, results)
    return tell(made, fail or gate.detect is not None, output or [], as_json)


def _gate(metrics: list[str] | None, detect: str | None) -> Gate:
    from lab import units
    from lab.analysis.compare import NAMES, Gate
    from lab.part import unknown

    for name in metrics or ():
        if name not in NAMES:
            raise UsageError(f"--metric: {unknown(name, list(NAMES), 'metric')}")
    try:
        share = units.share(detect) if detect else None
    except ValueError as error:
        raise UsageError(f"--detect: {error}") from None
    return Gate(tuple(metrics) if metrics else None, share)


def _runs(names: list[str], gate: Gate, results: Path | None) -> Comparison:
    from lab import store
    from lab.analysis.compare import compare as compared

    if len(names) < 2:
        raise UsageError("compare: give a base and a head, or several heads")
    base, *heads = [store.read_run(shared.find_run(name, results)) for name in names]
    return compared(base, heads, gate)


def _within(run: str, names: list[str], gate: Gate, results: Path | None) -> Comparison:
    from lab import store
    from lab.analysis.compare import compare_within
    from lab.part import unknown

    if len(names) != 2:
        raise UsageError("compare --within RUN: give two servers, the base and the head")
    found = store.read_run(shared.find_run(run, results))
    known = list(dict.fromkeys(trial.server for trial in found.trials))
    for name in names:
        if name not in known:
            raise UsageError(f"compare --within {found.id}: {unknown(name, known, 'server')}")
    return compare_within(found, names[0], names[1], gate)


def _json(made: Comparison) -> str:
    return made.model_dump_json(indent=1) + "\n"


def _markdown(made: Comparison) -> str:
    from lab.report.comparison import markdown

    return markdown(made)


def _html(made: Comparison) -> str:
    from lab.report.comparison import html

    return html(made)


WRITERS = {".md": _markdown, ".html": _html, ".json": _json}


def tell(made: Comparison, gates: bool, files: list[Path], as_json: bool) -> int:
    """Print a comparison, write it to files; the exit code: a gate's, or 0 where nothing is gated."""
    from lab import store

    code = exit_code(made, gates)
    made = made.model_copy(update={"exit_code": int(code)})
    for file in files:
        store.write_atomically(file, WRITERS[file.suffix](made))
    if as_json:
        shared.out(_json(made).rstrip())
    else:
        from rich.console import Console

        from lab.report.comparison import terminal

        terminal(made, Console())
    if gates and made.refusal:
        shared.say(f"lab: not gated: {made.refusal}")
    return code


def exit_code(made: Comparison, gates: bool) -> Exit:
    """99 for a regression, 5 where the gate could not have seen one, else 0."""
    if not gates:
        return Exit.OK
    if made.decision == "REGRESSION":
        return Exit.THRESHOLD
    return Exit.UNTRUSTED if made.refusal else Exit.OK
