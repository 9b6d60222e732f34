"""Results: `report`, `runs`, `merge`, `bundle`, `clean`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.common.errors import Exit, HostCannot, UsageError, worst
from lab.verbs import completion, shared
from lab.verbs.publishing import require_known, show_summary
from lab.verbs.shared import CiOption, JsonOption, ResultsOption, RunArgument


def runs(results: ResultsOption = None, as_json: JsonOption = False) -> int:
    """List all runs with their verdicts, newest last."""
    from lab.results import listing

    rows = [
        {"run": run, "verdict": listed.verdict, "servers": listed.server_names}
        for run, listed in listing.read_all(shared.results_folder(results))
    ]
    if as_json:
        shared.print_json(rows)
    elif rows:
        width = max(len(str(row["run"])) for row in rows)
        lines = [f"{row['verdict']:13} {row['run']:{width}}  {' '.join(row['servers'])}" for row in rows]
        shared.print_out("\n".join(line.rstrip() for line in lines))
    else:
        shared.print_err("no runs yet: start one with `lab run SCENARIO`")
    return Exit.OK


def report(
    run: RunArgument = "latest",
    results: ResultsOption = None,
    as_json: JsonOption = False,
    ci: CiOption = "auto",
    openmetrics: Annotated[
        bool, typer.Option("--openmetrics", help="Print OpenMetrics text instead of the table.")
    ] = False,
    open_it: Annotated[bool, typer.Option("--open", help="Open report.html in a browser.")] = False,
) -> int:
    """Write a run's reports again from its raw data, and show its table.

    \b
    Examples:
      lab report
      lab report latest~1 --json
      lab report 20261123T07 --open
    """
    from lab import report as reports

    require_known(ci)
    folder = shared.find_run(run, results)
    summary = reports.write_all(folder)
    if openmetrics:
        from lab.report.openmetrics import openmetrics as as_metrics

        shared.print_out(as_metrics(summary).rstrip())
    else:
        show_summary(summary, folder, as_json, ci)
    if open_it:
        typer.launch(str(folder / "report.html"))
    return summary.exit_code


def merge(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…", help="Runs, or folders that hold runs.", autocompletion=completion.runs
        ),
    ],
    each: Annotated[
        bool, typer.Option("--each", help="Write one report per scenario, if the runs have several.")
    ] = False,
    results: ResultsOption = None,
    as_json: JsonOption = False,
    ci: CiOption = "auto",
) -> int:
    """Merge runs of one scenario, such as those of a CI matrix, into one report.

    \b
    Examples:
      lab merge latest latest~1
      lab merge --each artefacts/*
    """
    from lab import report as reports
    from lab.results import merge as joining
    from lab.results import store

    require_known(ci)
    paths = [
        path for name in runs for path in store.list_runs(Path(name)) or [shared.find_run(name, results)]
    ]
    if len(paths) < 2 and not each:
        raise UsageError("merge: give two runs or more")
    codes = []
    for group in joining.by_scenario(paths) if each else [paths]:
        folder = joining.merge(group, shared.results_folder(results), sys.argv[1:])
        summary = reports.write_all(folder)
        show_summary(summary, folder, as_json, ci)
        codes.append(summary.exit_code)
    return worst(codes)


def bundle(
    run: RunArgument = "latest",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The archive [default: RUN.tar.gz in this folder]."
        ),
    ] = None,
    results: ResultsOption = None,
) -> int:
    """Pack a run into one archive, for others to report from and to run again.

    \b
    Examples:
      lab bundle latest
      lab report 20261123T071705Z-c10k-3f9a.tar.gz     (where it was received)
    """
    from lab.common.units import show_bytes
    from lab.results import bundle as packing

    folder = shared.find_run(run, results)
    archive = output or Path(f"{folder.name}.tar.gz")
    size = packing.pack(folder, archive)
    shared.print_out(str(archive))
    shared.print_err(f"{show_bytes(size)}; the same run always gives the same bytes")
    return Exit.OK


def clean(
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=1, help="Keep this many of the newest runs.")
    ] = 10,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be removed, remove nothing.")
    ] = False,
    images: Annotated[
        bool, typer.Option("--images", help="Also remove images that no longer match the sources.")
    ] = False,
    results: ResultsOption = None,
) -> int:
    """Remove old runs; keep the newest and those in progress.

    \b
    Example:
      lab clean --keep 5 --dry-run
    """
    from lab.common.units import show_bytes
    from lab.results import clean as cleaning

    old = cleaning.old(shared.results_folder(results), keep)
    for run in old:
        if not dry_run:
            cleaning.remove(run.path)
        shared.print_out(
            f"{'would remove' if dry_run else 'removed'} {run.path.name}  {show_bytes(run.size_bytes)}"
        )
    if images and dry_run:
        shared.print_err("--images is ignored in a dry run")
    elif images:
        _remove_old_images()
    if not old:
        shared.print_err(f"nothing to remove: no finished runs besides the newest {keep}")
    return Exit.OK


def _remove_old_images() -> None:
    from lab.engine import connect
    from lab.engine import images as building

    client = connect.connect()
    if client is None:
        raise HostCannot("clean --images: no Docker engine answers")
    try:
        building.remove_old(client, shared.print_err)
    finally:
        client.close()
