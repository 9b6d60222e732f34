"""The table of figures in docs/validity.md, made from common.figures.

`python -m lab.report.figures_table docs/validity.md` renews it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lab.common.figure import Figure
from lab.common.figures import FIGURES
from lab.common.generated import renew

BEGIN = "<!-- made by `python -m lab.report.figures_table`: do not edit -->"
END = "<!-- end of the figures -->"


def table() -> str:
    """Every figure with its unit, what it is, where it is read from and the checks it rests on."""
    rows = ["| figure | unit | is | read from | rests on |", "|---|---|---|---|---|"]
    return "\n".join([*rows, *map(_row, FIGURES)])


def _row(figure: Figure) -> str:
    needs = ", ".join(f"`{name}`" for name in figure.needs)
    cells = (f"`{figure.name}`", figure.unit, figure.explains, figure.source.read_from, needs)
    return f"| {' | '.join(cells)} |"


def renewed(page: str) -> str:
    """Return the page with a fresh table between its marks. Raises ValueError where there are no marks."""
    return renew(page, BEGIN, END, table())


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
