"""The parts of a page in Markdown: escaped text, tables, bars, and a limit of bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lab.report.content import text

LIMIT_BYTES = 60_000
BAR_CELLS = 24
_SPECIAL = re.compile(r"([\\`*\[\]|#~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_EIGHTHS = " ▏▎▍▌▋▊▉"


def fit(sections: Sequence[list[str]], limit_bytes: int) -> str:
    """Join sections of lines; cut rows from the end where they do not fit, and say how many."""
    note = "*{} more lines are in report.html.*"
    left = limit_bytes - len(note.encode()) - 16
    lines: list[str] = []
    cut = 0
    for section in sections:
        for line in [*section, ""]:
            cost = len(line.encode()) + 1
            if cut or cost > left:
                cut += bool(line)
                continue
            left -= cost
            lines.append(line)
    return "\n".join([*lines, *([note.format(cut), ""] if cut else [])])


def escape(value: object) -> str:
    """Text that Markdown and HTML take literally, on one line."""
    line = text.clean(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers_from: int = 1) -> list[str]:
    """Return a table; cells are Markdown already. Columns from `numbers_from` on are set flush right."""
    ruler = [":--" if place < numbers_from else "--:" for place in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in [head, ruler, *rows]]


def bar(share: float, cells: int = BAR_CELLS) -> str:
    """Return a horizontal bar in eighths of a character; at least one, so that no value is invisible."""
    eighths = max(1, round(min(1.0, share) * cells * 8))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
