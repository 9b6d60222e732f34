"""`compare`: base and head are stored runs, two servers of one run, or two versions measured now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.common.errors import Exit, UsageError
from lab.common.paths import ROOT
from lab.verbs import completion, shared, streams
from lab.verbs.compare_ab import PAIRS, Versions, measure
from lab.verbs.shared import JsonOption, NoCalibrationOption, ResultsOption, SetOption, TrustedOption

if TYPE_CHECKING:
    from lab.analysis.comparison import Gate
    from lab.analysis.comparison_model import Comparison
    from lab.results.record import Run

WhatArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="BASE HEAD…",
        help="Runs; with --within two servers; with --ab two versions and a SCENARIO.",
        autocompletion=completion.runs,
    ),
]
WithinOption = Annotated[
    str | None,
    typer.Option(
        "--within", metavar="RUN", help="Compare two servers of this run.", autocompletion=completion.runs
    ),
]
AbOption = Annotated[
    bool,
    typer.Option("--ab", help="Measure two versions now, in turn: git refs (. is the work tree) or images."),
]
PairsOption = Annotated[
    int | None,
    typer.Option(
        "--pairs",
        metavar="N",
        min=1,
        help=f"With --ab: the number of pairs (default {PAIRS}).",
        show_default=False,
    ),
]
RepositoryOption = Annotated[
    Path | None,
    typer.Option(
        "--repository",
        metavar="FOLDER",
        help="With --ab: the git repository of the refs (default: this checkout).",
        show_default=False,
    ),
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="Decide by this metric instead of the usual ones (repeatable).",
    ),
]
DetectOption = Annotated[
    str | None,
    typer.Option(
        "--detect",
        metavar="SHARE",
        help="Exit 5 if a worsening of this size, such as 20%, cannot be detected.",
    ),
]
FailOption = Annotated[
    bool,
    typer.Option(
        "--fail-on-regression",
        help="Exit 99 on a regression, 5 if no decision is possible.",
    ),
]
OutputOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write the comparison as .md, .html or .json (repeatable)."
    ),
]


def compare(
    what: WhatArgument,
    within: WithinOption = None,
    ab: AbOption = False,
    pairs: PairsOption = None,
    overrides: SetOption = None,
    repository: RepositoryOption = None,
    trusted: TrustedOption = False,
    no_calibration: NoCalibrationOption = False,
    metric: MetricOption = None,
    detect: DetectOption = None,
    fail: FailOption = False,
    output: OutputOption = None,
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare base and head: what changed, by how much, and whether it is a regression.

    Without --fail-on-regression or --detect the exit code is 0, whatever the result.

    \b
    Examples:
      lab compare latest~1 latest
      lab compare main-run one-run other-run --metric cpu_us_per_request -o compare.md
      lab compare --within latest thread epoll_lt --fail-on-regression --detect 20%
      lab compare --ab main HEAD smoke --pairs 10 --fail-on-regression
    """
    only_ab = {
        "--pairs": pairs, "--set": overrides, "--repository": repository, "--trusted": trusted,
        "--no-calibration": no_calibration,
    }  # fmt: skip
    _refuse_combinations(within, ab, [option for option, value in only_ab.items() if value])
    gate, files = _gate(metric, detect), output or []
    _refuse_formats(files)
    gates = fail or gate.detect is not None
    if ab:
        versions = Versions(
            pairs or PAIRS, overrides, repository or ROOT, trusted, not no_calibration, results
        )
        return measure(what, versions, gate, lambda made, more: tell(made, gates, [*files, *more], as_json))
    made = _servers(within, what, gate, results) if within else _runs(what, gate, results)
    return tell(made, gates, files, as_json)


def _refuse_combinations(within: str | None, ab: bool, only_ab: list[str]) -> None:
    """Raise UsageError for options that would be ignored together."""
    if ab and within:
        raise UsageError("compare: --ab measures now, --within reads a stored run: give one of them")
    if only_ab and not ab:
        raise UsageError(f"compare: {', '.join(only_ab)}: only with --ab, which measures")


def _refuse_formats(files: list[Path]) -> None:
    """Raise UsageError for a file whose name tells no format."""
    for file in files:
        if file.suffix not in WRITERS:
            raise UsageError(f"-o {file}: the name must end with {', '.join(WRITERS)}")


def _gate(metrics: list[str] | None, detect: str | None) -> Gate:
    from lab.analysis.comparison import NAMES, Gate
    from lab.common import units
    from lab.scenario.strict import unknown

    for name in metrics or ():
        if name not in NAMES:
            raise UsageError(f"--metric: {unknown(name, list(NAMES), 'metric')}")
    try:
        share = units.share(detect) if detect else None
    except ValueError as error:
        raise UsageError(f"--detect: {error}") from None
    return Gate(tuple(metrics) if metrics else None, share)


def _runs(names: list[str], gate: Gate, results: Path | None) -> Comparison:
    """Compare stored runs. Raises UsageError for runs that have nothing to compare."""
    from lab.analysis.comparison import compare as compared
    from lab.results import store

    if len(names) < 2:
        raise UsageError(
            "compare: one run is named: give a base and at least one head (`lab compare latest~1 latest`), "
            "or compare two servers of one run with --within RUN"
        )
    base, *heads = [store.read_run(shared.find_run(name, results)) for name in names]
    for head in heads:
        _refuse_unlike(base, head)
    return compared(base, heads, gate)


def _refuse_unlike(base: Run, head: Run) -> None:
    """Raise UsageError for two runs without a trial of one server at one sweep point."""
    if base.id == head.id:
        raise UsageError(
            f"compare: base and head are the same run, {base.id}: name two runs, "
            f"or compare two of its servers with --within {base.id}"
        )
    for run in (base, head):
        if not run.trials:
            raise UsageError(f"compare: {run.id} has no trial: name a run that has measured something")
    ours, theirs = ({trial.key.group for trial in run.trials} for run in (base, head))
    if not ours & theirs:
        raise UsageError(
            "compare: no server, at the same sweep point, is in both runs: "
            f"{_contents(base)}; {_contents(head)}: name two runs of one scenario"
        )


def _contents(run: Run) -> str:
    """`RUN of smoke has thread, epoll_lt`; of a long sweep only the first groups."""
    groups = list(dict.fromkeys(trial.key.group for trial in run.trials))
    more = ", …" if len(groups) > MOST_GROUPS else ""
    return f"{run.id} of {run.manifest.scenario} has {', '.join(groups[:MOST_GROUPS])}{more}"


def _servers(run: str, names: list[str], gate: Gate, results: Path | None) -> Comparison:
    """Compare two servers of one stored run. Raises UsageError for others than two of its servers."""
    from lab.analysis.comparison import compare_within
    from lab.results import store
    from lab.scenario.strict import unknown

    found = store.read_run(shared.find_run(run, results))
    known = list(dict.fromkeys(trial.server for trial in found.trials))
    where = f"compare --within {found.id}"
    if not known:
        raise UsageError(f"{where}: the run has no trial: name a run that has measured something")
    for name in names:
        if name not in known:
            raise UsageError(f"{where}: {unknown(name, known, 'server')}")
    if len(names) != 2 or names[0] == names[1]:
        raise UsageError(
            f"{where}: give two different servers, the base and the head, not {' '.join(names)}; "
            f"the run has {', '.join(known)}"
        )
    return compare_within(found, names[0], names[1], gate)


def _json(made: Comparison) -> str:
    return made.model_dump_json(indent=1) + "\n"


def _markdown(made: Comparison) -> str:
    from lab.report.comparison import markdown

    return markdown(made)


def _html(made: Comparison) -> str:
    from lab.report.comparison import html

    return html(made)


MOST_GROUPS = 4
WRITERS = {".md": _markdown, ".html": _html, ".json": _json}


def tell(made: Comparison, gates: bool, files: list[Path], as_json: bool) -> int:
    """Print a comparison, write it to files, and return the exit code: the gate's, or 0 without one."""
    from lab.results import store

    code = exit_code(made, gates)
    made = made.model_copy(update={"exit_code": int(code)})
    for file in files:
        store.write_atomically(file, WRITERS[file.suffix](made))
    if as_json:
        shared.print_out(_json(made).rstrip())
    else:
        from lab.report.comparison import terminal

        terminal(made, streams.console())
    if gates and made.refusal:
        shared.print_err(f"lab: no decision: {made.refusal}")
    return code


def exit_code(made: Comparison, gates: bool) -> Exit:
    """Return 99 for a regression, 5 where the gate could not detect one, else 0."""
    if not gates:
        return Exit.OK
    if made.decision == "REGRESSION":
        return Exit.THRESHOLD
    return Exit.UNTRUSTED if made.refusal else Exit.OK
