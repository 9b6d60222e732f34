"""Figures and words as every report writes them: one place, so that terminal, Markdown and HTML agree."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from lab.analysis.histogram import FEWEST
from lab.analysis.model import (
    AIRY_CPU,
    Errors,
    GroupSummary,
    LoadFigures,
    QuantileName,
    Quantiles,
    ServerFigures,
    ServerSummary,
    Summary,
    TrialFigures,
    at_limit,
    cpu_is_nearly_full,
    figure_of,
    is_cpu_cost,
    rate_with_air,
)
from lab.common.figure import Figure
from lab.common.figures import BY_NAME, FIGURES
from lab.common.leaves import leaves
from lab.common.units import show_bytes, show_number, show_percent, show_plain

NOTHING = "—"
# Beside a time of a server that did not keep up: its backlog grew, so a longer window has longer times.
GROWS = " (grows)"
_QUANTILE_NAMES = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p999": "p99.9"}
# Overrides and isolates reorder a line on the screen (Unicode TR 9); XML 1.0 forbids the last two.
_UNWANTED = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def clean(text: object) -> str:
    """One line without control characters, escape sequences' ESC included: safe to print anywhere."""
    line = " ".join(_UNWANTED.sub("", str(text)).splitlines())
    return "".join(c for c in line.replace("\t", " ") if unicodedata.category(c) not in ("Cc", "Cs"))


def number(value: float | None) -> str:
    """Three significant digits, thousands grouped: `2,000`, `41.0`, `0.312`; a dash where there is none."""
    return NOTHING if value is None else show_number(value)


def percent(share: float | None) -> str:
    """Return a share as a percentage: `0 %`, `0.030 %`, `12.5 %`."""
    return NOTHING if share is None else show_percent(share)


def quantile(quantiles: Quantiles, name: QuantileName) -> str:
    """Milliseconds, `≥ 5,000` of a lower bound, `n/a (needs N)` where there are requests but too few."""
    value: float | None = getattr(quantiles, name)
    if name in quantiles.at_least:
        return "unknown" if value is None else at_least(number(value))
    if value is None and quantiles.samples + quantiles.unanswered:
        return f"n/a (needs {FEWEST[name]:,})"
    return number(value)


def at_least(words: str) -> str:
    """Write a lower bound: `≥ 5,000`."""
    return f"≥\u00a0{words}"


def response(figures: LoadFigures, name: QuantileName) -> str:
    """Return a quantile of the response time; `1,480 (grows)` of a server that did not keep up."""
    told = quantile(figures.response_ms, name)
    grows = figures.kept_up is False and getattr(figures.response_ms, name) is not None
    return told + (GROWS if grows else "")


def count(value: float | None) -> str:
    """Return a whole number where it is one: `1`, `10,001`."""
    return number(value) if value is None or value % 1 else f"{value:,.0f}"


def size(value: float | None) -> str:
    """Bytes in binary units, three significant digits: `512 B`, `47.2 KiB`, `1.30 GiB`."""
    return NOTHING if value is None else show_bytes(value)


def plural(count: int, noun: str) -> str:
    """`1 trial`, `3 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


COLUMNS = tuple(figure for figure in FIGURES if figure.column)


def cell(figures: LoadFigures, figure: Figure) -> str:
    """Write a figure for a table: a dash if not measured; over trials `41.0 (40.2–42.5, n 5)`."""
    owner = getattr(figures, figure.path[0])
    if isinstance(owner, Errors) and not _measured(figures):
        return NOTHING
    if isinstance(owner, Quantiles):
        value = response(figures, quantile_of(figure))
    elif is_cpu_cost(figure) and isinstance(figures, ServerFigures):
        value = _cpu_cost(figures)
    else:
        value = amount(shown(figures, figure), figure)
    of = _as_shown(figures, figure)
    return f"{value}{_bracket(figures, of)}{_mark(figures, of)}"


def _as_shown(figures: LoadFigures, figure: Figure) -> Figure:
    """Return the figure that stands in the place of this one: its fallback where it was not measured."""
    while figure_of(figures, figure) is None and figure.fallback:
        figure = BY_NAME[figure.fallback]
    return figure


def _mark(figures: LoadFigures, figure: Figure) -> str:
    """Return what must be said beside a figure, in brackets."""
    mark = figures.marks.get(figure.name) if isinstance(figures, ServerFigures) else None
    return f" ({mark})" if mark else ""


def _cpu_cost(figures: ServerFigures) -> str:
    """Write a CPU time per request: `41.0`, `≥ 497 (CPU full)`, `412 (CPU 91 %)`, `1.00 CPUs waiting`."""
    if figures.busy_waits:
        waiting = figures.cpu_cores_waiting
        return NOTHING if waiting is None else f"{number(waiting)}\u00a0CPUs waiting"
    value = number(figures.cpu_us_per_request)
    if figures.cpu_at_least:
        return f"{at_least(value)} (CPU full)"
    nearly = cpu_is_nearly_full(figures) and figures.cpu_us_per_request is not None
    return f"{value} (CPU {percent(figures.cpu_share)})" if nearly else value


def _bracket(figures: LoadFigures, figure: Figure) -> str:
    """Interval and number of trials of a figure over several; empty for one trial."""
    if not isinstance(figures, ServerSummary | GroupSummary):
        return ""
    interval = figures.intervals.get(figure.name)
    if interval is None:
        return ""
    low, high = amount(interval.low, figure), amount(interval.high, figure)
    between = "" if low == high else f"{low}–{high}, "
    return f" ({between}n\u00a0{interval.n})"


def brackets(summary: Summary) -> str:
    """Say what brackets in a table mean; empty where no figure is of more than one trial."""
    if not any(server.intervals for server in summary.servers.values()):
        return ""
    return (
        "Brackets hold the 95 % interval of the median over n trials; "
        "with fewer than six trials, the smallest and the largest."
    )


def quantile_of(figure: Figure) -> QuantileName:
    """Which quantile a figure of response times is. Raises KeyError for another figure."""
    return {name: name for name in FEWEST}[figure.path[-1]]  # type: ignore[index]


def amount(value: float | None, figure: Figure) -> str:
    """Return a value of a figure as it is written in a table, without its unit; bytes have theirs."""
    if figure.unit == "B":
        return size(value)
    if figure.unit == "share":
        return percent(value)
    return count(value) if figure.whole else number(value)


def with_unit(value: float, figure: Figure) -> str:
    """`20.1 µs`, `47.2 KiB`, `12.5 %`."""
    bare = figure.unit in ("B", "share", "")
    return amount(value, figure) + ("" if bare else f" {figure.unit}")


def capital(noun: str) -> str:
    """Return a noun at the beginning of a sentence: `Memory per connection`, but `p99 response time`."""
    return noun if noun[1:2].isdigit() else noun[:1].upper() + noun[1:]


def shown(figures: LoadFigures, figure: Figure) -> float | None:
    """Return the value of a figure; of its fallback where it was not measured."""
    value = figure_of(figures, figure)
    return shown(figures, BY_NAME[figure.fallback]) if value is None and figure.fallback else value


def _measured(figures: LoadFigures) -> bool:
    if isinstance(figures, TrialFigures):
        return figures.status == "ok"
    return measured(figures) if isinstance(figures, ServerSummary) else True


def row(server: ServerSummary) -> list[str]:
    """Return the cells of one server, in the order of COLUMNS."""
    return [cell(server, figure) for figure in COLUMNS]


def measured(server: ServerSummary) -> bool:
    """Whether any trial gave figures, believable or not."""
    return any(trial.status == "ok" for trial in server.per_trial) or server.trials_valid > 0


def label(name: str, server: ServerSummary) -> str:
    """Return the server's name, with marks: no trial of it is valid, or it met a limit of its own."""
    marks = ["invalid"] if measured(server) and not server.trials_valid else []
    marks += ["at its limit"] if at_limit(server) else []
    return clean(name) + (f" ({', '.join(marks)})" if marks else "")


def limits_met(servers: Mapping[str, ServerSummary]) -> list[str]:
    """Say what `at its limit` means for each server that has the mark, in a sentence each."""
    each = [(name, limit) for name, server in servers.items() for limit in _limits(server, servers)]
    return [f"{clean(name)}: {limit}." for name, limit in each]


def _limits(server: ServerSummary, servers: Mapping[str, ServerSummary]) -> Iterator[str]:
    if at_limit(server.model_copy(update={"cpu_at_least": False})):
        yield _limit(server)
    if server.cpu_at_least:
        rate = rate_with_air(servers.values(), server.server)
        with_air = "no point of this run had air" if rate is None else f"{number(rate)}/s were done with air"
        yield (
            f"used {percent(server.cpu_share)} of its CPUs, so its CPU time per request is a lower bound; "
            f"{with_air} (below {percent(AIRY_CPU)})"
        )


def _limit(server: ServerSummary) -> str:
    users = server.users or 0
    if server.refused_above is None and server.served_at_once is None:
        return "did not keep up with the requests that were meant, so more and more waited"
    if server.refused_above is None:
        at_once = server.served_at_once or 0
        return f"served {plural(at_once, 'connection')} at a time; the other {users - at_once:,} users waited"
    left_out = server.errors.users_left_out
    refused = users - server.refused_above if left_out is None else left_out
    says = (
        f"refused connections beyond {server.refused_above:,} open ones: "
        f"{refused:,} of {users:,} users had none"
    )
    return f"{says}, and their share of the requests counts as failed"


def failure(server: ServerSummary) -> str | None:
    """Why no trial of this server gave a measurement; None where at least one did."""
    if measured(server):
        return None
    reasons = [clean(trial.reason) for trial in server.per_trial if trial.reason]
    return reasons[0] if reasons else "no trial gave a measurement"


def errors_by_kind(errors: Errors) -> str:
    """`errors by kind, over the whole load: timeout 12, reset 3`; the share beside it is the window's."""
    return f"errors by kind, over the whole load: {by_kind(errors)}"


def by_kind(errors: Errors) -> str:
    """`timeout 12, reset 3`, most frequent first."""
    ranked = sorted(errors.by_kind.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{kind} {count:,}" for kind, count in ranked)


def aligned(cells: Sequence[str], figure: str = " ", point: str = " ") -> list[str]:
    """Pad number cells on the right so that decimal points stand below each other when set flush right.

    `figure` and `point` are blanks as wide as a digit and a point (U+2007 and U+2008 in proportional type).
    """
    plain = re.compile(r"-?[\d,]+(\.\d+)?")
    parts = [plain.fullmatch(cell) for cell in cells]
    longest = max((len(m[1] or "") for m in parts if m), default=0)
    return [cell + _blank(len(m[1] or ""), longest, figure, point) if m else cell
            for cell, m in zip(cells, parts, strict=True)]  # fmt: skip


def _blank(have: int, longest: int, figure: str, point: str) -> str:
    if have == longest:
        return ""
    return figure * (longest - have) if have else point + figure * (longest - 1)


def quantile_name(name: str) -> str:
    """`p999` → `p99.9`."""
    return _QUANTILE_NAMES.get(name, name)


def leaf_texts(data: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Nested plain data as (dotted path, text) pairs; what is null or empty is left out."""
    for path, value in leaves(data):
        if value not in (None, {}):
            yield ".".join(path), plain_value(path[-1], value)


def plain_value(name: str, value: object) -> str:
    """One plain value as text: `yes`, `0 1`, `4.00 GiB` if its name says bytes; a dash for none."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(clean, value))
    if isinstance(value, int | float) and name.endswith("_bytes"):
        return size(value)
    return show_plain(value) if isinstance(value, float) else clean(value)
