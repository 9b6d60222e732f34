"""This host: `images`, `down`, `version`."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.errors import Exit, UsageError
from lab.verbs import completion, shared


def images() -> int:
    """Build the images that are missing; start the engine if need be."""
    from lab import engine
    from lab import images as building

    client = engine.ensure(shared.say)
    try:
        for name, tag in building.build(client, ["server", "swarm", "nettools"], shared.say).items():
            shared.out(f"{name:9} {tag}")
    finally:
        client.close()
    return Exit.OK


def down(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Remove what this run left.", autocompletion=completion.runs),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove what any dead run left.")] = False,
    stop_engine: Annotated[
        bool, typer.Option("--engine", help="Stop the engine that the lab started.")
    ] = False,
) -> int:
    """Remove containers and networks that the lab left behind; never anything else.

    \b
    Examples:
      lab down up-smoke-3f9a
      lab down --all --engine
    """
    from lab import engine
    from lab.runtime import cleanup

    if not run and not everything and not stop_engine:
        raise UsageError("down: name a run, or give --all (or --engine)")
    client = engine.connect()
    if client is None and not stop_engine:
        shared.say("no Docker engine answers: looking for processes only")
    try:
        if run or everything:
            cleanup.down(client, None if everything else run, shared.say)
    finally:
        if client is not None:
            client.close()
    if stop_engine:
        engine.stop(shared.say)
    return Exit.OK


def version() -> int:
    """The lab's version."""
    from lab import __version__

    shared.out(__version__)
    return Exit.OK
