"""Standard output and standard error whose readers may close them: `lab report | head`."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import IO, TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


class ReaderGone(Exception):
    """The reader closed standard output: the command ends silently, like other Unix tools."""


def print_err(text: str) -> None:
    """Print a line for people on standard error. If it is closed the work continues: results are in files."""
    try:
        typer.echo(text, err=True)
    except BrokenPipeError:
        _discard(sys.stderr)


def print_out(text: str, end: str = "\n") -> None:
    """Print a result on standard output. Raises ReaderGone."""
    try:
        typer.echo(text + end, nl=False)
    except BrokenPipeError:
        _discard(sys.stdout)
        raise ReaderGone from None


def console(*, stderr: bool = False) -> Console:
    """Return Rich's console on either stream; it treats a closed stream like `print_err` and `print_out`."""
    return _console_class()(stderr=stderr)


@cache
def _console_class() -> type[Console]:
    from rich.console import Console

    class Stream(Console):
        def on_broken_pipe(self) -> None:
            # Rich would end the process, from whichever thread of the runtime wrote last.
            _discard(sys.stderr if self.stderr else sys.stdout)
            if not self.stderr:
                raise ReaderGone

    return Stream


def _discard(stream: IO[str]) -> None:
    """Redirect it to /dev/null: flushing its buffer at exit would fail again, with exit code 120."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
