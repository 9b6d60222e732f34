"""report.md: for pull requests and step summaries. Tables and Unicode bars, below GitHub's size limits."""

from __future__ import annotations

from collections.abc import Sequence

from lab.analysis.model import Summary, is_lower_bound
from lab.common.figure import Figure
from lab.report.content import environment, events, explain, findings, groups, links, sweeps, text, thresholds
from lab.report.content.findings import Group
from lab.report.content.server_order import in_order
from lab.report.markdown_text import LIMIT_BYTES, bar, escape, fit, table
from lab.results.record import Run


def markdown(run: Run, summary: Summary) -> str:
    """Return the whole report. Sections come in order of weight; rows that do not fit are cut and counted."""
    summary = in_order(summary)
    sections = [
        _heading(summary),
        _findings(summary),
        _comparison(summary),
        *(_bars(summary, figure) for figure in explain.COSTS),
        _groups(summary),
        _events(summary),
        _growth(summary),
        _why(summary),
        _thresholds(summary),
        _links(summary),
        _failures(summary),
        _checks(summary),
        _environment(run, summary),
        _problems(run),
    ]
    return fit([section for section in sections if section], LIMIT_BYTES)


def _heading(summary: Summary) -> list[str]:
    lines = [f"# {escape(summary.scenario)}: {summary.verdict}", ""]
    if summary.question:
        lines += [f"*{escape(summary.question)}*", ""]
    lines.append(
        f"**{summary.verdict}**: {findings.verdict_meaning(summary)}. Run `{text.clean(summary.run)}`."
    )
    lines += ["", *(f"> Stamped: {escape(stamp)}" for stamp in summary.stamps)]
    return lines[:-1] if not summary.stamps else lines


def _findings(summary: Summary) -> list[str]:
    concerned, aside = findings.divided(summary, (*text.COLUMNS, *explain.COLUMNS))
    lines = [_finding(group) for group in concerned]
    if aside:
        folded = [_finding(group) for group in aside]
        title = f"<details><summary>{findings.aside_words(aside)}</summary>"
        lines += ["", title, "", *folded, "", "</details>"]
    return ["## Findings", "", *lines] if lines else []


def _finding(group: Group) -> str:
    more = f" {escape(group.more)}" if group.more else ""
    action = f" → {escape(group.do)}" if group.do else ""
    return f"- **{group.word}** {escape(group.first)}{more}{action} (`{group.check}`)"


def _comparison(summary: Summary) -> list[str]:
    head = ["server", *(column.heading for column in text.COLUMNS)]
    rows = [
        [escape(text.label(name, server)), *(escape(cell) for cell in text.row(server))]
        for name, server in summary.servers.items()
    ]
    note = (
        "Response time counts from the moment a request was meant to be sent; medians over the valid trials."
    )
    met = [f"- At its limit: {escape(sentence)}" for sentence in text.limits_met(summary.servers)]
    return [
        "## Servers",
        "",
        *table(head, rows),
        "",
        *met,
        *([""] if met else []),
        f"{note} {text.brackets(summary)}".rstrip(),
    ]


def _bars(summary: Summary, figure: Figure) -> list[str]:
    shown = {name: text.shown(server, figure) for name, server in summary.servers.items()}
    values = {name: value for name, value in shown.items() if value is not None}
    bounds = {name for name, server in summary.servers.items() if is_lower_bound(server, figure)}
    highest = max(values.values(), default=0.0)
    if len(values) < 2 or highest <= 0:
        return []
    amounts = {name: text.amount(value, figure) for name, value in values.items()}
    names, cells = (
        list(values),
        [text.at_least(cell) if name in bounds else cell for name, cell in amounts.items()],
    )
    wide, broad = max(map(len, names)), max(map(len, cells))
    lines = [
        f"{name:{wide}}  {cell:>{broad}}  {bar(value / highest)}"
        for (name, value), cell in zip(values.items(), cells, strict=True)
    ]
    unit = "" if figure.unit == "B" else f" [{figure.unit}]"
    return [f"### {text.capital(figure.noun)}{unit}", "", "```text", *lines, "```"]


def _groups(summary: Summary) -> list[str]:
    rows = [[escape(cell) for cell in cells] for cells in groups.rows(summary)]
    return ["## Groups of the swarm", "", *table(groups.HEADINGS, rows, 2)] if rows else []


def _events(summary: Summary) -> list[str]:
    rows = [[escape(cell) for cell in cells] for cells in events.rows(summary)]
    return ["## Events", "", *table(events.HEADINGS, rows, 3)] if rows else []


def _growth(summary: Summary) -> list[str]:
    rows = [[escape(cell) for cell in cells] for cells in sweeps.laws(summary)]
    if not rows:
        return []
    words = [f"- {escape(sentence)}" for sentence in sweeps.law_sentences(summary)]
    return ["## Growth", "", *words, "", *table(sweeps.HEADINGS, rows, 3)]


def _why(summary: Summary) -> list[str]:
    rows = [
        [escape(text.label(name, server)), *(escape(cell) for cell in explain.row(server))]
        for name, server in summary.servers.items()
        if text.measured(server)
    ]
    if not rows:
        return []
    words = [f"- {escape(sentence)}" for sentence in explain.sentences(summary)]
    return ["## Why", "", *words, "", *table(["server", *explain.HEADINGS], rows)]


def _thresholds(summary: Summary) -> list[str]:
    if not summary.thresholds:
        return []
    rows = [[escape(cell) for cell in cells] for cells in thresholds.rows(summary)]
    return ["## Thresholds", "", *table(thresholds.HEADINGS, rows, len(thresholds.HEADINGS))]


def _links(summary: Summary) -> list[str]:
    if not summary.links:
        return []
    rows = [[escape(cell) for cell in cells] for cells in links.rows(summary)]
    return ["## Links", "", *table(links.HEADINGS, rows, len(links.HEADINGS))]


def _failures(summary: Summary) -> list[str]:
    lines = [
        f"- **{escape(trial.trial)}**: {escape(trial.reason or 'failed')}"
        for server in summary.servers.values()
        for trial in server.per_trial
        if trial.status == "failed"
    ]
    lines += [
        f"- {escape(name)}: {escape(text.errors_by_kind(server.errors))}"
        for name, server in summary.servers.items()
        if server.errors.by_kind
    ]
    return ["## Failures", "", *lines] if lines else []


def _checks(summary: Summary) -> list[str]:
    """Every check that was made, and how often it said what."""
    rows = [
        [escape(name), escape(", ".join(f"{level} {count:,}" for level, count in tally.items()))]
        for name, tally in summary.checks.items()
    ]
    return _folded(f"{text.plural(len(rows), 'validity check')} made", ["check", "trials"], rows)


def _environment(run: Run, summary: Summary) -> list[str]:
    rows = [[escape(cell) for cell in cells] for cells in environment.all_facts(run, summary)]
    return _folded("Environment", environment.HEADINGS, rows)


def _folded(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table behind a line to click on; nothing where it is empty."""
    if not rows:
        return []
    return [
        f"<details><summary>{title}</summary>",
        "",
        *table(head, rows, len(head)),
        "",
        "</details>",
    ]


def _problems(run: Run) -> list[str]:
    lines = [f"- {escape(damage.trial)}: {escape(damage.says)}" for damage in run.damaged]
    return ["## Reading the records", "", *lines] if lines else []
