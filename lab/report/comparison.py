"""A comparison for people: in words, as tables in the terminal and in Markdown, as a page of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.analysis.comparison_model import Comparison, Drift, HeadComparison, MetricRow, ServerComparison
from lab.analysis.statistics import Decision
from lab.report import markdown_text as md
from lab.report.content import text
from lab.results.fact_labels import label

HEADINGS = ("metric", "base", "head", "head ÷ base", "95 % interval", "MDE", "decision")
DIFFERENCE_HEADINGS = ("fact", "base", "head", "prevents a decision")
PIPE_WIDTH = 100
NOTE = (
    "base and head are medians over valid trials; the ratio is the median over pairs of trials, with its "
    "exact 95 % interval. MDE (minimal detectable effect) is the smallest worsening that these pairs detect "
    "with 80 % power. Decisions in brackets are of metrics that do not decide."
)
STYLE: dict[Decision, str] = {"REGRESSION": "bold red", "OK": "green", "INCONCLUSIVE": "yellow"}
CELL_WIDTH = 24


def row(metric: MetricRow) -> list[str]:
    """Return the cells under HEADINGS."""
    return [
        metric.metric,
        *_figures(metric),
        text.NOTHING if metric.ratio is None else f"{metric.ratio:.3f}",
        text.NOTHING if metric.ci95 is None else f"{metric.ci95[0]:.3f} … {metric.ci95[1]:.3f}",
        text.NOTHING if metric.mde is None else f"{metric.mde - 1:.1%}",
        _decision(metric),
    ]


def rows(server: ServerComparison) -> list[list[str]]:
    """Return a row for every metric that decides or was measured; sentences say why one was not."""
    return [row(metric) for metric in server.metrics if metric.gated or metric.base is not None]


def sentences(made: Comparison) -> Iterator[str]:
    """Yield what was decided and of what: the refusal, then every gated metric that is not simply OK."""
    if made.refusal:
        yield f"no decision is possible: {text.clean(made.refusal)}"
    for head in made.heads:
        for server in head.servers:
            for metric in server.metrics:
                if metric.gated and (metric.decision != "OK" or metric.improved):
                    yield f"{_label(server, head, made)}: {_sentence(metric)}"


def terminal(made: Comparison, console: Console) -> None:
    """Print the comparison. Not a terminal: no colour, no frames, 100 columns."""
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(Text(made.decision, style=STYLE[made.decision]) + Text(f"  base {text.clean(made.base)}"))
    for sentence in sentences(made):
        console.print(Padding(Text(f"· {sentence}"), (0, 0, 0, 2)))
    for head in made.heads:
        for note in head.notes:
            console.print(Padding(Text(f"note: {text.clean(note)}", style="dim"), (0, 0, 0, 2)))
        for server in head.servers:
            console.print()
            console.print(Text(f"{_label(server, head, made)}  ({_pairs(server)})", style="bold"))
            console.print(_table(HEADINGS, rows(server), console, numbers=range(1, 6)))
        if head.drift:
            console.print()
            console.print(Text(f"{text.clean(head.head)}: differences of the environment", style="bold"))
            console.print(_table(DIFFERENCE_HEADINGS, [_drift(d, CELL_WIDTH) for d in head.drift], console))


def markdown(made: Comparison) -> str:
    """Return the comparison for a pull request."""
    lines = [f"# Comparison: {made.decision}", "", f"Base `{text.clean(made.base)}`.", ""]
    lines += [f"- {md.escape(sentence)}" for sentence in sentences(made)]
    sections = [lines]
    for head in made.heads:
        sections.append(
            [
                f"## Head `{text.clean(head.head)}`: {head.decision}",
                "",
                *(f"> {md.escape(n)}" for n in head.notes),
            ]
        )
        for server in head.servers:
            cells = [[md.escape(cell) for cell in shown] for shown in rows(server)]
            title = f"### {md.escape(_label(server, head, made))} ({md.escape(_pairs(server))})"
            sections.append([title, "", *md.table(HEADINGS, cells)])
        if head.drift:
            cells = [[md.escape(cell) for cell in _drift(drift)] for drift in head.drift]
            sections.append(
                [
                    "### Differences of the environment",
                    "",
                    *md.table(DIFFERENCE_HEADINGS, cells, len(DIFFERENCE_HEADINGS)),
                ]
            )
    return md.fit([*sections, [NOTE]], md.LIMIT_BYTES)


def html(made: Comparison) -> str:
    """Return the comparison as a part of a page: plain elements, everything a run brought along escaped."""
    parts = [_tag("h1", f"Comparison: {made.decision}"), _tag("p", f"Base {made.base}")]
    parts.append(_list(sentences(made)))
    for head in made.heads:
        parts += [_tag("h2", f"Head {head.head}: {head.decision}"), _list(head.notes)]
        for server in head.servers:
            caption = f"{_label(server, head, made)} ({_pairs(server)})"
            parts.append(_html_table(caption, HEADINGS, rows(server)))
        if head.drift:
            parts.append(
                _html_table(
                    "Differences of the environment", DIFFERENCE_HEADINGS, [_drift(d) for d in head.drift]
                )
            )
    return "\n".join([*parts, _tag("p", NOTE)]) + "\n"


def _figures(metric: MetricRow) -> tuple[str, str]:
    """Return base and head, each with `≥` where it is a lower bound in some trial."""
    base, head = (
        text.size(value) if metric.unit == "B" else text.number(value) for value in (metric.base, metric.head)
    )
    return (
        text.at_least(base) if metric.base_at_least else base,
        text.at_least(head) if metric.head_at_least else head,
    )


def _decision(metric: MetricRow) -> str:
    word = metric.decision + (", improved" if metric.improved else "")
    return word if metric.gated else f"({word})"


def _sentence(metric: MetricRow) -> str:
    unit = "" if metric.unit == "B" else metric.unit
    figures = f"{' → '.join(_figures(metric))} {unit}".rstrip()
    word = "improved" if metric.improved else metric.decision
    if metric.ratio is None or metric.ci95 is None:
        return f"{metric.metric} {word}: {text.clean(metric.says)}"
    low, high = metric.ci95
    return (
        f"{metric.metric} {word}: {metric.ratio - 1:+.1%} ({low - 1:+.1%} … {high - 1:+.1%}), {figures}; "
        f"the margin is {metric.margin:.0%}{'; ' if metric.says else ''}{text.clean(metric.says)}"
    )


def _label(server: ServerComparison, head: HeadComparison, made: Comparison) -> str:
    if server.server != server.head_server:
        return f"{text.clean(server.server)} → {text.clean(server.head_server)}"
    return text.clean(server.server) + (f" of {text.clean(head.head)}" if len(made.heads) > 1 else "")


def _pairs(server: ServerComparison) -> str:
    dropped = f"; unpaired: {', '.join(server.dropped)}" if server.dropped else ""
    return text.plural(server.pairs, "pair") + text.clean(dropped)


def _drift(drift: Drift, width: int | None = None) -> list[str]:
    values = [text.clean(value) for value in (drift.base, drift.head)]
    short = [v if width is None or len(v) <= width else v[: width - 1] + "…" for v in values]
    return [text.clean(label(drift.fact)), *short, "yes" if drift.matters else "no"]


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], console: Console, numbers: Sequence[int] = ()
) -> Table:
    frame = box.SIMPLE_HEAD if console.is_terminal else None
    shown = Table(box=frame, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for place, heading in enumerate(headings):
        side: Literal["right", "left"] = "right" if place in numbers else "left"
        shown.add_column(heading, justify=side, overflow="fold", no_wrap=place == 0)
    for cells in rows:
        shown.add_row(*(Text(cell) for cell in cells))
    return shown


def _tag(name: str, content: str) -> Markup:
    return Markup("<{0}>{1}</{0}>").format(Markup(name), text.clean(content))


def _list(items: Sequence[str] | Iterator[str]) -> Markup:
    inner = Markup("").join(_tag("li", item) for item in items)
    return Markup("<ul>{}</ul>").format(inner) if inner else Markup("")


def _html_table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    head = Markup("").join(_tag("th", heading) for heading in headings)
    body = Markup("\n").join(
        Markup("<tr>{}</tr>").format(Markup("").join(_tag("td", c) for c in cells)) for cells in rows
    )
    table = "<table><caption>{}</caption>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}\n</tbody></table>"
    return Markup(table).format(text.clean(caption), head, body)
