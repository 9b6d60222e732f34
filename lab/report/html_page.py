"""What stands on the page, as plain values: every word and table of report.html, before any markup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.analysis.model import Summary, TrialFigures
from lab.common.figures import FIGURES
from lab.report.content import environment, events, explain, findings, groups, links, sweeps, text, thresholds
from lab.report.content.limitations import limits, topology
from lab.results.record import Run, TrialRecord
from lab.scenario.swarm import Swarm

STATISTICS = tuple(f'{{"event": "{event}"' for event in ("stats", "progress", "second"))
LEVELS = ("ok", "limit", "suspect", "unknown", "fail", "invalid")
# The figures of the page's tables.
SHOWN = tuple(
    figure for figure in FIGURES if figure.column or figure.per_trial or figure.behind or figure.swept
)
FIGURE_SPACE, POINT_SPACE = "\u2007", "\u2008"


@dataclass(frozen=True)
class Table:
    """A table. `numeric` columns are set flush right; the first column names its row."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    show_caption: bool = False


def page(run: Run, summary: Summary, data: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the template asks for; `data` is what the charts draw."""
    several = any(server.trials_valid > 1 for server in summary.servers.values())
    concerned, aside = findings.divided(summary, SHOWN)
    shown = {
        "summary": summary,
        "meaning": findings.verdict_meaning(summary),
        "facts": list(_facts(run, summary)),
        "findings": _with_rest(concerned),
        "aside": _with_rest(aside),
        "aside_words": findings.aside_words(aside),
        "checks": _checks(summary),
        "comparison": _comparison(summary),
        "meanings": [
            ("family", "How the server waits for its connections (Stevens)."),
            *((column.heading, column.explains) for column in text.COLUMNS),
        ],
        "limits_met": text.limits_met(summary.servers),
        "brackets": text.brackets(summary),
        "sweep": data["sweep"],
        "groups": _groups(summary),
        "events": _events(summary),
        "growth": _growth(summary),
        "laws": sweeps.law_sentences(summary),
        "upper": text.quantile_name(data["upper"]),
        "typical": ", the one with the median p99" if several else "",
        "why": _why(summary),
        "sentences": explain.sentences(summary),
        "thresholds": _thresholds(summary),
        "topology": topology(run, summary),
        "links": _links(summary),
        "trials": _trials(summary),
        "failures": list(_failures(run)),
        "environment": _environment(summary),
        "recorded": _recorded(run, summary),
        "limits": limits(run, summary),
    }
    return shown | {"sections": list(_sections(shown))}


def _with_rest(groups: Sequence[findings.Group]) -> list[tuple[findings.Group, list[str]]]:
    return [(group, [findings.sentence(f) for f in group.rest]) for group in groups]


def _sections(shown: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    names = {
        "findings": "Findings", "servers": "Servers", "sweep": "Growth", "latency": "Response time",
        "load": "Over time", "why": "Why", "thresholds": "Thresholds", "setup": "Topology and links",
        "trials": "Trials", "environment": "Environment", "limits": "Limits",
    }  # fmt: skip
    for id_, name in names.items():
        if id_ not in ("sweep", "why", "thresholds") or shown[id_]:
            yield id_, name


def _facts(run: Run, summary: Summary) -> Iterator[tuple[str, str]]:
    yield "Run", text.clean(run.id)
    servers = len({server.server for server in summary.servers.values()})
    yield "Measured", f"{text.plural(len(run.trials), 'trial')} of {text.plural(servers, 'server')}"
    if run.trials:
        yield "Load", load_words(run.trials)
        runtimes = dict.fromkeys(trial.runtime for trial in run.trials if trial.runtime)
        yield "Runtime", ", ".join(text.clean(word) for word in (*runtimes, *summary.stamps))


def load_words(trials: Sequence[TrialRecord]) -> str:
    """`10,000 connections, 2,000 requests/s offered (open)`; ranges where trials differ."""
    swarms = [trial.scenario.swarm for trial in trials]
    words = f"{_span([swarm.users for swarm in swarms])} connections"
    if any(swarm.groups for swarm in swarms):
        return "; ".join(dict.fromkeys(map(_group_words, swarms)))
    rates = [swarm.load.rate for swarm in swarms]
    if any(rate is not None for rate in rates):
        return f"{words}, {_span(rates)} requests/s offered (open)"
    return f"{words}, " + "; ".join(dict.fromkeys(swarm.load.describe() for swarm in swarms))


def _group_words(swarm: Swarm) -> str:
    return "; ".join(
        f"{name}: {text.count(one.users)} connections, {one.load.describe()}"
        for name, one in swarm.groups.items()
    )


def _span(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return text.NOTHING
    low, high = min(known), max(known)
    return text.count(low) if low == high else f"{text.count(low)} … {text.count(high)}"


def _checks(summary: Summary) -> Table | None:
    if not summary.checks:
        return None
    levels = [level for level in LEVELS if any(level in tally for tally in summary.checks.values())]
    rows = [
        [text.clean(name), *(f"{tally[level]:,}" if level in tally else "" for level in levels)]
        for name, tally in summary.checks.items()
    ]
    return Table("Validity checks made", ["check", *levels], rows, frozenset(range(1, len(levels) + 1)))


def _aligned(rows: Sequence[Sequence[str]], numeric: frozenset[int]) -> list[tuple[str, ...]]:
    columns = [
        text.aligned(cells, FIGURE_SPACE, POINT_SPACE) if place in numeric else list(cells)
        for place, cells in enumerate(zip(*rows, strict=True))
    ]
    return list(zip(*columns, strict=True))


def _comparison(summary: Summary) -> Table:
    rows = []
    for name, server in summary.servers.items():
        reason = text.failure(server)
        family = server.family or (server.image and "image") or text.NOTHING
        rows.append([text.label(name, server), f"failed: {reason}" if reason else family, *text.row(server)])
    head = ["server", "family", *(f"{column.title}\n{column.per}" for column in text.COLUMNS)]
    numeric = frozenset(range(2, len(head)))
    return Table("Servers compared", head, _aligned(rows, numeric), numeric)


def _groups(summary: Summary) -> Table | None:
    rows = groups.rows(summary)
    return Table("Groups of the swarm", groups.HEADINGS, rows, groups.NUMERIC, True) if rows else None


def _events(summary: Summary) -> Table | None:
    rows = events.rows(summary)
    title = "Timed events: before, during (until the backlog was gone) and after"
    return Table(title, events.HEADINGS, rows, events.NUMERIC, True) if rows else None


def _growth(summary: Summary) -> Table | None:
    rows = sweeps.laws(summary)
    return Table("Laws of growth", sweeps.HEADINGS, rows, frozenset({3, 4, 6, 7})) if rows else None


def _why(summary: Summary) -> Table | None:
    rows = [
        [text.label(name, server), *explain.row(server)]
        for name, server in summary.servers.items()
        if text.measured(server)
    ]
    if not rows:
        return None
    head = ["server", *(f"{column.title}\n{column.per}" for column in explain.COLUMNS), explain.CALLS]
    numeric = frozenset(range(1, len(head) - 1))
    return Table("Costs and what each model did", head, _aligned(rows, numeric), numeric)


def _thresholds(summary: Summary) -> Table | None:
    if not summary.thresholds:
        return None
    return Table("Thresholds of the scenario", thresholds.HEADINGS, thresholds.rows(summary))


def _links(summary: Summary) -> Table | None:
    """One column a link: asked, configured and measured stand below each other."""
    columns = links.rows(summary)
    if not columns:
        return None
    facts, *rows = zip(links.HEADINGS, *columns, strict=True)
    return Table("Links: asked, configured, measured", facts, rows)


def _trials(summary: Summary) -> Table:
    figures = [figure for figure in FIGURES if figure.per_trial]
    head = ["trial", "status", *(figure.heading for figure in figures)]
    rows = [
        [_status(trial)[0], _status(trial)[1], *(text.cell(trial, figure) for figure in figures)]
        for server in summary.servers.values()
        for trial in server.per_trial
    ]
    numeric = frozenset(range(2, len(head)))
    return Table("Trials", head, _aligned(rows, numeric), numeric)


def _status(trial: TrialFigures) -> tuple[str, str]:
    status = trial.status if trial.status == "ok" else f"failed: {trial.reason}"
    return text.clean(trial.trial), text.clean(status)


def _failures(run: Run) -> Iterator[dict[str, Any]]:
    for trial in run.trials:
        if trial.status == "failed" or trial.last_lines:
            yield {
                "title": text.clean(trial.id),
                "says": text.clean(trial.reason or "a node did not end as asked"),
                "logs": [(text.clean(node), _last_words(lines)) for node, lines in trial.last_lines.items()],
            }
    for damage in run.damaged:
        yield {"title": text.clean(damage.trial), "says": text.clean(damage.says), "logs": []}


def _last_words(lines: Sequence[str]) -> str:
    """Return what a node said last, without the statistics that it prints every second."""
    said = [text.clean(line) for line in lines if not line.startswith(STATISTICS)]
    if len(said) < len(lines):
        said.append(f"({text.plural(len(lines) - len(said), 'line')} of statistics left out)")
    return "\n".join(said)


def _environment(summary: Summary) -> Table:
    return Table("The machine and the versions", environment.HEADINGS, environment.key_facts(summary))


def _recorded(run: Run, summary: Summary) -> Table:
    rows = environment.all_facts(run, summary)
    return Table("Everything recorded of the environment", environment.HEADINGS, rows)
