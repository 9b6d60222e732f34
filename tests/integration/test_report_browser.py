"""report.html in a real browser: everything drawn, no error, no request, usable by keyboard and on paper."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.report.html import html
from tests.support import judged
from tests.support.browser import Page, browser, executable

PROGRAM = executable()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here: apt-get install chromium")

# Labels of a chart that cover each other, and text that the chart's edge cuts off.
COVERED = """
(() => {
  const hits = [];
  for (const svg of document.querySelectorAll('figure svg')) {
    const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
    const boxes = texts.map(t => [t.textContent, t.getBoundingClientRect()]);
    boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
      const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (wide > 1 && high > 3) hits.push(`${a} / ${b}`);
    }));
    const edge = document.documentElement.clientWidth;
    const chart = svg.getBoundingClientRect();
    boxes.forEach(([a, p]) => {
      if (p.left < -1 || p.right > edge + 1) hits.push(`${a} is cut off`);
      if (p.top < chart.top - 6 || p.bottom > chart.bottom + 6) hits.push(`${a} is outside its chart`);
    });
  }
  return hits;
})()
"""
# Tabbing order: what takes the focus, by tag.
FOCUSABLE = "[...document.querySelectorAll('a[href], summary, select, [tabindex=\"0\"]')].map(e => e.tagName)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert PROGRAM is not None
    with browser(PROGRAM, tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    runs = {"golden": judged.golden(), "sweep": judged.sweep(), "dead": judged.failed()}
    run, summary = judged.golden()
    doubted = {name: s.model_copy(update={"trials_valid": 0}) for name, s in summary.servers.items()}
    runs["doubted"] = (
        run,
        summary.model_copy(update={"servers": {**summary.servers, "thread": doubted["thread"]}}),
    )
    for name, (run, summary) in runs.items():
        (folder / f"{name}.html").write_text(html(run, summary), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in runs}


@pytest.mark.parametrize("name", ["golden", "sweep", "dead"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_without_an_error_and_without_a_request(
    page: Page, files: dict[str, Path], name: str, scheme: str
) -> None:
    page.problems.clear()
    page.requests.clear()
    page.resize(1200, 900)
    page.prefer(scheme)
    page.open(files[name])
    assert page.problems == []
    assert page.requests == [files[name].as_uri()]
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0


def test_every_chart_is_there(page: Page, files: dict[str, Path]) -> None:
    page.resize(1200, 900)
    page.open(files["golden"])
    drawn = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('figure')].map("
        "f => [f.id, f.querySelectorAll('svg').length]))"
    )
    assert drawn == {"bars": 3, "percentiles": 1, "response": 6, "throughput": 6, "cpu": 6, "memory": 6}
    curves = page.evaluate("document.querySelectorAll('#percentiles g[aria-label=line] path').length")
    assert curves == 10  # 6 servers, 2 trials each; those of blocking are lower bounds from the first on
    page.open(files["sweep"])
    assert page.evaluate("document.querySelectorAll('#sweep svg').length") == 5


def test_a_server_that_must_not_be_believed_says_so_in_every_chart(
    page: Page, files: dict[str, Path]
) -> None:
    page.resize(1200, 900)
    page.open(files["doubted"])
    told = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('figure')].map(f => [f.id,"
        " [...f.querySelectorAll('svg text, h4')].filter(t => t.textContent === 'thread (invalid)').length]))"
    )
    assert told == {"bars": 3, "percentiles": 1, "response": 1, "throughput": 1, "cpu": 1, "memory": 1}


def test_the_hostile_finding_is_text(page: Page, files: dict[str, Path]) -> None:
    page.open(files["golden"])
    shown = page.evaluate("document.querySelector('.findings .fail').textContent")
    assert "</script><img src=x onerror=alert(1)>" in shown
    assert page.evaluate("document.images.length") == 0


def test_the_policy_stops_what_the_page_does_not_know(page: Page, files: dict[str, Path]) -> None:
    page.open(files["golden"])
    page.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = true';"
        " document.body.append(s); })()"
    )
    assert page.evaluate("window.ran") is None
    refused = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'went out', error => error.name)")
    assert refused == "TypeError"
    assert any("Content Security Policy" in problem for problem in page.problems)


def test_every_chart_opens_its_table(page: Page, files: dict[str, Path]) -> None:
    page.open(files["golden"])
    page.evaluate("document.querySelectorAll('figure details').forEach(d => { d.open = true })")
    page.wait("document.querySelectorAll('figure details table').length === 6")
    rows = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('figure')].map("
        "f => [f.id, f.querySelectorAll('tbody tr').length]))"
    )
    assert rows["bars"] == 7
    assert rows["percentiles"] == 10
    assert rows["response"] == rows["throughput"] == 60
    assert page.evaluate("document.querySelector('#bars tbody tr').cells[0].textContent") == (
        "blocking (at its limit)"
    )


def test_figures_in_chart_tables_are_those_of_the_summary(page: Page, files: dict[str, Path]) -> None:
    _, summary = judged.golden()
    page.open(files["golden"])
    page.evaluate("document.querySelector('#bars details').open = true")
    page.wait("document.querySelector('#bars details table') !== null")
    cells = page.evaluate(
        "[...document.querySelectorAll('#bars tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    from lab.report.content import text

    for row in cells:
        server = summary.servers[row[0].partition(" (")[0]]
        bounds = server.response_ms.at_least
        assert row[1:3] == [
            ("≥ " if name in bounds else "") + text.number(getattr(server.response_ms, name))
            for name in ("p50", "p99")
        ]
        assert row[3] == text.number(server.cpu_us_per_request)
        assert row[5] == text.size(server.memory_bytes_per_connection)


@pytest.mark.parametrize("width", [1200, 800, 390])
@pytest.mark.parametrize("name", ["golden", "sweep", "doubted"])
def test_nothing_is_covered_or_cut_off_at_any_width(
    page: Page, files: dict[str, Path], name: str, width: int
) -> None:
    page.resize(width, 900)
    page.open(files[name])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(COVERED) == []


def test_charts_are_drawn_anew_when_the_window_changes(page: Page, files: dict[str, Path]) -> None:
    page.resize(1200, 900)
    page.open(files["golden"])
    page.resize(500, 900)
    page.wait("document.querySelector('#percentiles svg').getAttribute('width') < 500")


def test_a_sweep_lets_the_reader_choose_the_point(page: Page, files: dict[str, Path]) -> None:
    page.resize(1200, 900)
    page.open(files["sweep"])
    assert page.evaluate("document.querySelector('#response select').selectedOptions[0].textContent") == (
        "swarm.users 10000"
    )
    page.evaluate(
        "(() => { const s = document.querySelector('#response select'); s.focus(); s.selectedIndex = 0;"
        " s.dispatchEvent(new Event('change')); })()"
    )
    page.wait("document.querySelector('#memory select').selectedOptions[0].textContent === 'swarm.users 10'")
    assert page.evaluate("document.activeElement === document.querySelector('#response select')")


def test_it_can_be_used_by_keyboard_and_screen_reader(page: Page, files: dict[str, Path]) -> None:
    page.open(files["golden"])
    focusable = page.evaluate(FOCUSABLE)
    assert focusable[0] == "A"
    assert focusable.count("SUMMARY") >= 9
    summaries = page.evaluate("[...document.querySelectorAll('summary')].map(s => s.textContent)")
    assert len(set(summaries)) == len(summaries)
    unnamed = "[...document.querySelectorAll('figure svg')].filter(s => !s.getAttribute('aria-label')).length"
    assert page.evaluate(unnamed) == 0
    assert page.evaluate("document.documentElement.lang") == "en"
    headings = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
    tree = json.dumps(page.call("Accessibility.getFullAXTree"))
    assert "Response time by percentile" in tree


def test_it_prints_in_light_colours_on_several_pages(page: Page, files: dict[str, Path]) -> None:
    page.resize(1200, 900)
    page.prefer("dark", "print")
    page.open(files["golden"])
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert background == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    page.evaluate(
        "addEventListener('beforeprint', () => { window.paper = [document.querySelector('#percentiles svg')"
        ".getAttribute('width'), document.querySelector('#trials details').open] })"
    )
    pdf = page.pdf()
    assert page.evaluate("window.paper") == ["688", True]
    assert not page.evaluate("document.querySelector('#trials details').open")
    page.prefer("light")
    assert pdf.startswith(b"%PDF")
    assert 4 <= pdf.count(b"/Type /Page\n") <= 12
