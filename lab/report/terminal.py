"""The table at the end of a run: verdict, findings, servers. Plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.analysis.model import Summary
from lab.report.content import events, findings, groups, text
from lab.report.content.server_order import in_order

# The comparison has nine columns; below this width they would break into unreadable towers.
NARROWEST_TABLE = 96
VERDICT_STYLE = {
    "PASS": "bold green",
    "FAIL": "bold red",
    "INVALID": "bold red",
    "INCONCLUSIVE": "bold yellow",
}
LEVEL_STYLE = {
    "invalid": "red",
    "fail": "red",
    "unknown": "yellow",
    "suspect": "yellow",
    "limit": "cyan",
    "expected": "cyan",
}


def table(summary: Summary, console: Console) -> None:
    """Print the summary for people. Not a terminal: no colour, no frames, a line per finding and row."""
    summary = in_order(summary)
    _heading(summary, console)
    _findings(summary, console)
    if not console.is_terminal or console.width >= NARROWEST_TABLE:
        _comparison(summary, console)
    else:
        _blocks(summary, console)
    _rows(groups.rows(summary), groups.HEADINGS, groups.NUMERIC, console)
    _rows(events.rows(summary), events.HEADINGS, events.NUMERIC, console)
    _notes(summary, console)
    _failures(summary, console)


def _line(console: Console, line: Text, indent: int = 0) -> None:
    """Folded below its indent on a terminal; in one piece elsewhere, for grep and its like."""
    if console.is_terminal:
        console.print(Padding(line, (0, 0, 0, indent)))
    else:
        console.print(Text(" " * indent) + line, soft_wrap=True)


def _heading(summary: Summary, console: Console) -> None:
    verdict = Text(summary.verdict, style=VERDICT_STYLE.get(summary.verdict, "bold"))
    _line(console, verdict + Text(f"  {findings.verdict_meaning(summary)}", style="default"))
    asked = f"{text.clean(summary.scenario)}  {text.clean(summary.question)}".rstrip()
    _line(console, Text(asked, style="dim"))
    for stamp in summary.stamps:
        _line(console, Text(f"stamped: {text.clean(stamp)}", style="yellow"))


def _findings(summary: Summary, console: Console) -> None:
    console.print()
    concerned, aside = findings.divided(summary, text.COLUMNS)
    for group in concerned:
        line = Text(f"{group.word:9} ", style=LEVEL_STYLE[group.word])
        line.append(f"{group.first} ", style="default")
        line.append(f"{group.more} ".lstrip() + f"[{group.check}]", style="dim")
        _line(console, line, 2)
        if group.do:
            _line(console, Text("→ " + group.do, style="dim"), 12)
    if aside:
        _line(console, Text(f"{findings.aside_words(aside)}: see report.html", style="dim"), 2)
    if summary.findings:
        console.print()


def _comparison(summary: Summary, console: Console) -> None:
    """Columns two blanks apart where they fit, else one, else blocks: a row that wraps is hard to read."""
    if not console.is_terminal:
        shown = _table(summary, framed=False, gap=2)
        console.width = max(console.width, _natural_width(shown, console))
        console.print(shown)
        return
    each = (_table(summary, framed=True, gap=gap) for gap in (2, 1))
    fitting = next((one for one in each if _natural_width(one, console) <= console.width), None)
    if fitting is None:
        _blocks(summary, console)
    else:
        console.print(fitting)


def _rows(
    found: Sequence[Sequence[str]], headings: Sequence[str], numeric: Collection[int], console: Console
) -> None:
    """Print a table of its own (groups of the swarm, timed events); nothing without rows."""
    if not found:
        return
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if number in numeric else "left")
    for row in found:
        shown.add_row(*map(Text, row))
    if not console.is_terminal:
        console.width = max(console.width, _natural_width(shown, console))
    console.print()
    console.print(shown)


def _natural_width(shown: Table, console: Console) -> int:
    return console.measure(shown, options=console.options.update(width=1000)).maximum


def _table(summary: Summary, *, framed: bool, gap: int) -> Table:
    frame = box.SIMPLE_HEAD if framed else None
    shown = Table(box=frame, pad_edge=False, padding=(0, gap - framed, 0, 0), show_edge=False)
    shown.add_column("server", overflow="fold")
    for column in text.COLUMNS:
        shown.add_column(f"{column.title}\n{column.per}", justify="right", overflow="fold")
    # Rich strips blanks at the end of a cell that is set flush right, but no no-break spaces.
    blank = "\u00a0" if framed else ""
    rows = map(text.row, summary.servers.values())
    columns = [text.aligned(cells, blank, blank) for cells in zip(*rows, strict=True)]
    for place, (name, server) in enumerate(summary.servers.items()):
        shown.add_row(Text(text.label(name, server)), *(cells[place] for cells in columns))
    return shown


def _blocks(summary: Summary, console: Console) -> None:
    """Narrow terminals: a few lines for each server."""
    for name, server in summary.servers.items():
        console.print(Text(text.label(name, server), style="bold"))
        cells = zip(text.COLUMNS, text.row(server), strict=True)
        pairs = " · ".join(f"{column.heading} {cell}" for column, cell in cells if cell != text.NOTHING)
        console.print(Padding(Text(pairs), (0, 0, 0, 2)))


def _notes(summary: Summary, console: Console) -> None:
    if note := text.brackets(summary):
        _line(console, Text(note, style="dim"))
    for sentence in text.limits_met(summary.servers):
        _line(console, Text(sentence, style="cyan"))


def _failures(summary: Summary, console: Console) -> None:
    for name, server in summary.servers.items():
        reason = text.failure(server)
        if reason:
            _line(console, Text(f"{text.clean(name)}: no figures: {reason}", style="red"))
        elif server.errors.by_kind:
            failed = f"{text.clean(name)}: {text.errors_by_kind(server.errors)}"
            _line(console, Text(failed, style="dim"))
