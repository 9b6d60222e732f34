"""Standard output and standard error whose readers may go away: `lab report | head`."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import IO, TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


class ReaderGone(Exception):
    """Nobody reads standard output any more: the command ends, quietly, as other Unix tools do."""


def say(text: str) -> None:
    """A line for people, on standard error. Where nobody listens the work goes on: its result is in files."""
    try:
        typer.echo(text, err=True)
    except BrokenPipeError:
        _into_nothing(sys.stderr)


def out(text: str, end: str = "\n") -> None:
    """A result, on standard output. Raises ReaderGone."""
    try:
        typer.echo(text + end, nl=False)
    except BrokenPipeError:
        _into_nothing(sys.stdout)
        raise ReaderGone from None


def console(*, stderr: bool = False) -> Console:
    """Rich's console on either stream; a reader that has gone away is met as `say` and `out` meet it."""
    return _console_class()(stderr=stderr)


@cache
def _console_class() -> type[Console]:
    from rich.console import Console

    class Stream(Console):
        def on_broken_pipe(self) -> None:
            # Rich would end the process, in whichever of the runtime's threads wrote last.
            _into_nothing(sys.stderr if self.stderr else sys.stdout)
            if not self.stderr:
                raise ReaderGone

    return Stream


def _into_nothing(stream: IO[str]) -> None:
    """Else what is still in its buffer would fail again at the end of the interpreter: exit code 120."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)
