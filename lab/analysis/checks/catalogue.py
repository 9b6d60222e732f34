"""The tables of checks and limits in `docs/validity.md`, made from the code that judges.

`python -m lab.analysis.checks.catalogue docs/validity.md` renews them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.analysis.checks import DISTURBANCES, RUN_CHECKS, TRIAL_CHECKS, Check, RunCheck
from lab.analysis.checks.limits import LIMITS
from lab.common.generated import renew

BEGIN = "<!-- made by `python -m lab.analysis.checks.catalogue`: do not edit -->"
END = "<!-- end -->"


def tables() -> str:
    """Every check with what it asks, and every limit with its source, as two Markdown tables."""
    rows = ["| check | asks | without data | |", "|---|---|---|---|"]
    for check in (*TRIAL_CHECKS, *RUN_CHECKS):
        said = (inspect.getdoc(check.evaluate) or "").partition("\n")[0]
        without = "INCONCLUSIVE" if check.required else "noted"
        rows.append(f"| `{check.name}` | {said} | {without} | {', '.join(_remarks(check))} |")
    rows += ["", "| limit | | by |", "|---|---|---|"]
    rows += [f"| `{limit.name}` | {limit.text()} | {limit.source} |" for limit in LIMITS.values()]
    return "\n".join(rows)


def _remarks(check: Check | RunCheck) -> Iterator[str]:
    if isinstance(check, Check) and check.excused:
        says = (inspect.getdoc(check.excused) or "").partition(":")[0]
        yield f"not counted where an expected limit explains it: {says[:1].lower()}{says[1:]}"
    if check.name in DISTURBANCES:
        yield "measured again once"


def renewed(page: str) -> str:
    """Return the page with fresh tables between its marks. Raises ValueError where there are no marks."""
    return renew(page, BEGIN, END, tables())


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
