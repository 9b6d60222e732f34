"""Interactive: `up`, `ps`, `logs`; for `net` see net.py."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.common.errors import Exit, UsageError
from lab.common.units import show_ms
from lab.verbs import completion, shared
from lab.verbs.shared import (
    JsonOption,
    ResultsOption,
    RunArgument,
    RuntimeOption,
    ScenarioArgument,
    SetOption,
    TrustedOption,
)

if TYPE_CHECKING:
    from lab.run.up import Interactive

FOLLOW_POLL_S = 0.1


def up(
    scenario: ScenarioArgument,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="NAME",
            help="Start this server instead of the first trial's.",
            autocompletion=completion.servers,
        ),
    ] = None,
    runtime: RuntimeOption = None,
    overrides: SetOption = None,
    swarm: Annotated[
        bool, typer.Option("--swarm/--no-swarm", help="Start the swarm too, or the server only.")
    ] = True,
    go: Annotated[bool, typer.Option("--go", help="Start the load at once.")] = False,
    trusted: TrustedOption = False,
) -> int:
    """Start a scenario's topology for interactive use, until Ctrl-C or `lab down`.

    It stays in the foreground. Look at it and change it from another terminal.

    \b
    Examples:
      lab up smoke --server epoll_lt --go
      lab up c10k --no-swarm
      lab ps; lab logs up-smoke-3f9a server; lab net set up-smoke-3f9a server delay=50ms
    """
    from lab.run import up as topology_up
    from lab.verbs.signals import interrupting

    _, resolved = shared.load(scenario, overrides, runtime)
    prepared = topology_up.first(resolved, server)
    prepared.capacity.require()
    with interrupting():
        try:
            with topology_up.up(
                prepared, resolved.settings.runtime, swarm, shared.print_err, trusted=trusted
            ) as nodes:
                _describe(nodes, waiting=swarm and not go)
                nodes.deployment.subscribe(_print_event)
                if go and swarm:
                    nodes.start_load()
                shared.print_err(nodes.wait())
        except KeyboardInterrupt:
            shared.print_err("down")
    return Exit.OK


def _describe(nodes: Interactive, *, waiting: bool) -> None:
    from lab.report.content.links import requested_words

    shared.print_out(f"{nodes.run} is up; its logs: {nodes.logs}")
    for node, address in nodes.addresses().items():
        shared.print_out(f"  {node:10} {address}")
    for link in nodes.links:
        requested = requested_words(link.requested)
        shared.print_out(f"  link {' - '.join(link.endpoints)} ({link.backend}): {requested}")
    if waiting:
        shared.print_out(f"start the load: {nodes.start_command()}")
    shared.print_out(f"Ctrl-C here, or `lab down {nodes.run}`, takes it down")


def _print_event(node: str, event: Mapping[str, Any]) -> None:
    """Print phases, progress and warnings of the nodes; their statistics are in the logs."""
    from lab.results.swarm_event import PhaseStart, Progress, WorkerLost, decode

    if event["event"] == "log":
        shared.print_err(f"{node}: {event.get('says')}")
        return
    try:
        found = decode(event)
    except ValueError:  # a node of another image uses one of these names for something else
        shared.print_err(f"{node}: {json.dumps(event)}")
        return
    if isinstance(found, PhaseStart):
        shared.print_err(f"{node}: {found.phase}")
    elif isinstance(found, WorkerLost):
        shared.print_err(f"{node}: {found.says}")
    elif isinstance(found, Progress):
        shared.print_err(
            f"{node}: {found.connected} connected, {found.requests_per_s} requests/s, "
            f"p99 {_milliseconds(found.response_p99_ms)}, {found.failed} failed"
        )


def _milliseconds(value: float | None) -> str:
    return "n/a" if value is None else show_ms(value)


def ps(as_json: JsonOption = False) -> int:
    """List the nodes that are up, of every run on this host.

    \b
    Example:
      lab ps --json
    """
    from lab.engine import connect
    from lab.run import attach

    client = connect.connect()
    try:
        rows = attach.nodes(client)
    finally:
        if client is not None:
            client.close()
    if as_json:
        shared.print_json([asdict(row) for row in rows])
    for row in () if as_json else rows:
        where = " ".join(f"{network}={address}" for network, address in sorted(row.addresses.items()))
        shared.print_out(f"{row.run:34} {row.node:14} {row.state:16} {where}")
    if not rows and not as_json:
        shared.print_err("nothing is up")
    return Exit.OK


def logs(
    run: RunArgument,
    node: Annotated[str | None, typer.Argument(metavar="[NODE]", help="server, master, worker-0 …")] = None,
    trial: Annotated[
        str | None, typer.Option("--trial", metavar="TRIAL", help="The trial, such as epoll_lt/1.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines as they come, until Ctrl-C.")
    ] = False,
    results: ResultsOption = None,
) -> int:
    """Print the log of a node; without NODE, list the logs.

    \b
    Examples:
      lab logs up-smoke-3f9a server --follow
      lab logs latest master --trial epoll_lt/1
    """
    from lab.run import up as topology_up

    folder = topology_up.find_logs(run) if run.startswith("up-") else None
    files = _log_files(folder) if folder else _run_logs(shared.find_run(run, results), trial)
    if not files:
        raise UsageError(f"{run}: there are no logs")
    if node is None:
        shared.print_out("\n".join(files))
        return Exit.OK
    chosen = [path for name, path in files.items() if name.rpartition(" ")[2] == node]
    if len(chosen) != 1:
        which = "no such log" if not chosen else "several trials have one: add --trial"
        raise UsageError(f"{node}: {which}; there are: {', '.join(files)}")
    for part in _reading(chosen[0], follow):
        shared.print_out(shared.printable(part), end="")
    return Exit.OK


def _log_files(folder: Path, prefix: str = "") -> dict[str, Path]:
    return {f"{prefix}{path.stem}": path for path in sorted(folder.glob("*.log"))}


def _run_logs(run: Path, trial: str | None) -> dict[str, Path]:
    folders = sorted(path for path in (run / "trials").glob("*") if path.is_dir())
    if trial is not None:
        wanted = trial.replace("/", "-")
        folders = [path for path in folders if path.name in (wanted, trial)]
        if not folders:
            raise UsageError(f"{run.name} has no trial {trial}")
    return {name: path for folder in folders for name, path in _log_files(folder, f"{folder.name} ").items()}


def _reading(path: Path, follow: bool) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        while True:
            if text := file.read(1 << 16):
                yield text
            elif not follow:
                return
            else:
                time.sleep(FOLLOW_POLL_S)  # inotify(7) would need a library, and people do not read faster
