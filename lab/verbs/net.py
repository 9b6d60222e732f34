"""`lab net`: the links of a run that is up, including one that measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from lab.common.errors import Exit, UsageError
from lab.verbs import shared
from lab.verbs.shared import JsonOption

if TYPE_CHECKING:
    from lab.run.attach import Attached
    from lab.scenario.impairment import Impairment

RunUp = Annotated[
    str, typer.Argument(metavar="RUN", help="A run that is up: an id of `lab ps`, or its beginning.")
]
Sender = Annotated[str, typer.Argument(metavar="NODE", help="The node whose outgoing packets are impaired.")]


def show(
    run: RunUp,
    node: Annotated[str | None, typer.Argument(metavar="[NODE]", help="Show this node only.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Show what impairs the packets that leave each node.

    The values are read back from the kernel or the delay line, not from the scenario.

    \b
    Example:
      lab net show up-smoke-3f9a
    """
    from lab.plan.topology import DATA
    from lab.report.content import links
    from lab.scenario.impairment import Impairment

    with _attached(run) as attached:
        nodes = attached.nodes if node is None else [node]
        found = {name: attached.in_force(name, DATA) for name in nodes}
    if as_json:
        shared.print_json(
            {
                name: [{"to": to, "impairment": impairment.to_json()} for to, impairment in each]
                for name, each in found.items()
            }
        )
        return Exit.OK
    for name, each in found.items():
        for to, impairment in each or [("all", Impairment())]:
            values = links.words(impairment) if impairment.to_json() else "not impaired"
            shared.print_out(f"{name:14} to {to:20} {values}")
    return Exit.OK


def set_(
    run: RunUp,
    node: Sender,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORD=VALUE…",
            help="The keys of a link, such as delay, jitter, loss, rate: delay=50ms loss=1%.",
        ),
    ],
) -> int:
    """Impair all packets that leave a node.

    This replaces what was set before.

    \b
    Example:
      lab net set up-smoke-3f9a server delay=50ms jitter=5ms loss=1%
    """
    from lab.plan.topology import DATA

    with _attached(run) as attached:
        shared.print_json([found.to_json() for found in attached.impair(node, DATA, _impairment(words))])
    return Exit.OK


def clear(run: RunUp, node: Sender) -> int:
    """Remove the impairments of a node.

    \b
    Example:
      lab net clear up-smoke-3f9a server
    """
    from lab.plan.topology import DATA

    with _attached(run) as attached:
        attached.clear(node, DATA)
    return Exit.OK


def probe(
    run: RunUp,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node that probes.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="The node to reach.")],
) -> int:
    """Measure round-trip times from one node to another.

    \b
    Example:
      lab net probe up-smoke-3f9a worker-0 server
    """
    from lab.plan.topology import DATA

    with _attached(run) as attached:
        shared.print_json(attached.probe(node, attached.address(to, DATA)).model_dump())
    return Exit.OK


def go(run: RunUp) -> int:
    """Start the load of a run that is up.

    \b
    Example:
      lab net go up-smoke-3f9a
    """
    with _attached(run) as attached:
        attached.go()
    return Exit.OK


VERBS: Mapping[str, Callable[..., int]] = {
    "show": show,
    "set": set_,
    "clear": clear,
    "probe": probe,
    "go": go,
}


@contextmanager
def _attached(run: str) -> Iterator[Attached]:
    from lab.engine import connect
    from lab.run import attach

    client = attach.only(connect.connect())
    try:
        yield attach.Attached(client, run)
    finally:
        client.close()


def _impairment(words: list[str]) -> Impairment:
    """Read the same words as under `links:` in a scenario. Raises UsageError."""
    from pydantic import ValidationError

    from lab.scenario.impairment import Impairment
    from lab.scenario.link import Direction
    from lab.scenario.messages import first_problem
    from lab.scenario.strict import AS_WRITTEN
    from lab.scenario.yaml_file import read_value, show_path

    pairs = dict(word.split("=", 1) for word in words if "=" in word)
    if len(pairs) != len(words) or not words or not all(pairs.values()):
        raise UsageError("net set: write WORD=VALUE, such as delay=50ms, each word once")
    values = {word: read_value(text, f"net set: {word}") for word, text in pairs.items()}
    try:
        return Impairment(**Direction.model_validate(values, context=AS_WRITTEN).impairment_fields())
    except ValidationError as error:
        problem = first_problem(error)
        raise UsageError(f"net set: {show_path(problem.paths[0])}{problem.message}") from None
    except ValueError as error:
        raise UsageError(f"net set: {error}") from None
