"""`compare`: base and head are stored runs, two servers of one run, or two versions measured now."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from lab.common.errors import Exit, LabError, UsageError
from lab.common.paths import ROOT
from lab.verbs import completion, shared, streams
from lab.verbs.shared import JsonOption, NoCalibrationOption, ResultsOption, SetOption, TrustedOption

if TYPE_CHECKING:
    from lab.analysis.comparison import Gate
    from lab.analysis.comparison_model import Comparison
    from lab.run.ab import Version

PAIRS = 10


def compare(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="BASE HEAD…",
            help="Runs; with --within two servers; with --ab two versions and a SCENARIO.",
            autocompletion=completion.runs,
        ),
    ],
    within: Annotated[
        str | None,
        typer.Option(
            "--within", metavar="RUN", help="Compare two servers of this run.", autocompletion=completion.runs
        ),
    ] = None,
    ab: Annotated[
        bool,
        typer.Option(
            "--ab", help="Measure two versions now, in turn: git refs (. is the work tree) or images."
        ),
    ] = False,
    pairs: Annotated[
        int | None,
        typer.Option(
            "--pairs", metavar="N", min=1, help="With --ab: the number of pairs.", show_default=str(PAIRS)
        ),
    ] = None,
    overrides: SetOption = None,
    repository: Annotated[
        Path | None,
        typer.Option(
            "--repository",
            metavar="FOLDER",
            help="With --ab: the git repository of the refs.",
            show_default="this checkout",
        ),
    ] = None,
    trusted: TrustedOption = False,
    no_calibration: NoCalibrationOption = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="Decide by the metrics named here, not by the usual ones (repeatable).",
        ),
    ] = None,
    detect: Annotated[
        str | None,
        typer.Option(
            "--detect",
            metavar="SHARE",
            help="Exit 5 if a worsening by this share, such as 20%, could go unnoticed.",
        ),
    ] = None,
    fail: Annotated[
        bool,
        typer.Option("--fail-on-regression", help="Exit 99 on a regression, 5 if one could not be detected."),
    ] = False,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the comparison as .md, .html or .json (repeatable)."
        ),
    ] = None,
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
    gate = _gate(metric, detect)
    for file in output or ():
        if file.suffix not in WRITERS:
            raise UsageError(f"-o {file}: the name must end with {', '.join(WRITERS)}")
    gates, files = fail or gate.detect is not None, output or []
    if ab:
        where = repository or ROOT
        measured = _Measured(pairs or PAIRS, overrides, where, trusted, not no_calibration, results)
        return _ab(what, measured, gate, lambda made, more: tell(made, gates, [*files, *more], as_json))
    made = _within(within, what, gate, results) if within else _runs(what, gate, results)
    return tell(made, gates, files, as_json)


def _refuse_combinations(within: str | None, ab: bool, only_ab: list[str]) -> None:
    """Raise UsageError for options that would be ignored together."""
    if ab and within:
        raise UsageError("compare: --ab measures now, --within reads a stored run: give one of them")
    if only_ab and not ab:
        raise UsageError(f"compare: {', '.join(only_ab)}: only with --ab, which measures")


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
    from lab.analysis.comparison import compare as compared
    from lab.results import store

    if len(names) < 2:
        raise UsageError("compare: give a base and at least one head")
    base, *heads = [store.read_run(shared.find_run(name, results)) for name in names]
    return compared(base, heads, gate)


def _within(run: str, names: list[str], gate: Gate, results: Path | None) -> Comparison:
    from lab.analysis.comparison import compare_within
    from lab.results import store
    from lab.scenario.strict import unknown

    if len(names) != 2:
        raise UsageError("compare --within RUN: give two servers, the base and the head")
    found = store.read_run(shared.find_run(run, results))
    known = list(dict.fromkeys(trial.server for trial in found.trials))
    for name in names:
        if name not in known:
            raise UsageError(f"compare --within {found.id}: {unknown(name, known, 'server')}")
    return compare_within(found, names[0], names[1], gate)


class _Measured(NamedTuple):
    """How to measure the two versions."""

    pairs: int
    overrides: list[str] | None
    repository: Path
    trusted: bool
    calibrate: bool
    results: Path | None


def _ab(asked: list[str], how: _Measured, gate: Gate, finish: Callable[[Comparison, list[Path]], int]) -> int:
    """Measure base and head of a scenario in one run, then compare within it."""
    from lab import report
    from lab.analysis.comparison import compare_alternatives
    from lab.results import store
    from lab.run import ab, session
    from lab.verbs.run import record

    if len(asked) != 3:
        raise UsageError("compare --ab: give a base and a head (git refs or images), and a scenario")
    path, resolved = shared.load(asked[2], how.overrides, "docker")
    base, head = _versions(asked[:2], how.repository)
    doubled, names = ab.alternatives(resolved, base.image, head.image, how.pairs)
    prepared = session.prepare(doubled)
    _forecast(how.pairs, len(prepared.plan.trials) // (2 * how.pairs), gate)
    request = session.Request(
        scenario=path,
        runtime="docker",
        results=shared.results_folder(how.results, resolved),
        argv=sys.argv[1:],
        trusted=how.trusted,
        calibrate=how.calibrate,
        alternatives={"base": base._asdict(), "head": head._asdict()},
    )
    folder = record(prepared, request)
    summary = report.write_all(folder)
    code = finish(
        compare_alternatives(store.read_run(folder), names, gate),
        [folder / f"comparison{suffix}" for suffix in WRITERS],
    )
    shared.print_err(f"\nreport: {shared.relative(folder)}/report.html ({summary.verdict})")
    return Exit.INTERRUPTED if summary.exit_code == Exit.INTERRUPTED else code


def _versions(asked: list[str], repository: Path) -> list[Version]:
    from lab.engine import connect
    from lab.run import ab

    client = connect.ensure(shared.print_err)
    try:
        return ab.versions(client, asked, shared.print_err, repository)
    finally:
        client.close()


def _forecast(pairs: int, servers: int, gate: Gate) -> None:
    """Print what the pairs can detect, before measuring. Raises CannotDetect where that is nothing."""
    from lab.analysis.comparison import METRICS
    from lab.analysis.statistics import fewest_pairs, minimal_detectable

    gated = [m for m in METRICS if (m.name in gate.metrics if gate.metrics else m.gate == "always")]
    family = servers * len(gated)
    if pairs < fewest_pairs(family):
        raise CannotDetect(
            f"{pairs} pairs cannot decide {family} metrics: give --pairs {fewest_pairs(family)} or more, "
            "or fewer metrics (--metric) or servers"
        )
    for metric in gated:
        margin = math.log1p(metric.margin)
        least = [math.expm1(minimal_detectable(spread, pairs, margin, family)) for spread in SPREADS]
        shared.print_err(
            f"{metric.name}: {pairs} pairs detect a worsening of {least[0]:.0%} if they vary by "
            f"{SPREADS[0]:.0%}, and of {least[1]:.0%} if they vary by {SPREADS[1]:.0%}"
        )


class CannotDetect(LabError):
    """The pairs are too few, or vary too much, to detect a regression."""

    exit_code = Exit.UNTRUSTED


def _json(made: Comparison) -> str:
    return made.model_dump_json(indent=1) + "\n"


def _markdown(made: Comparison) -> str:
    from lab.report.comparison import markdown

    return markdown(made)


def _html(made: Comparison) -> str:
    from lab.report.comparison import html

    return html(made)


SPREADS = (0.02, 0.05)
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
