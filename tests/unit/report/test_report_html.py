"""report.html: offline, closed to whatever a run brings along, complete, and the same every time."""

from __future__ import annotations

import base64
import hashlib
import html as entities
import itertools
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.analysis.model import Summary
from lab.analysis.summary import summarise
from lab.report.html import ASSETS, LIMIT_BYTES, embed, html
from lab.results.record import Run, Series, TrialRecord
from tests.support import judged, make_golden
from tests.support.records import of_server

SCRIPT = re.compile(r"<script>(.*?)</script>", re.S)
DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.S)


@pytest.fixture(scope="module")
def page() -> str:
    return html(*judged.golden())


def data_of(page: str) -> dict[str, Any]:
    match = DATA.search(page)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def test_the_same_run_gives_the_same_bytes(page: str) -> None:
    assert html(*judged.golden()) == page


def test_nothing_leads_outside(page: str) -> None:
    without_scripts = SCRIPT.sub("", page)
    assert not re.search(r"(?:https?:)?//[a-z0-9]", without_scripts.replace("//!", ""))
    assert not re.search(r'(?:src|href|action)="(?!#|data:)', without_scripts)
    assert "@import" not in page
    assert "url(" not in without_scripts


def test_the_policy_allows_these_scripts_and_nothing_else(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in entities.unescape(policy[1]).split(";"))
    assert rules["default-src"] == "'none'"
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in SCRIPT.findall(page)]
    assert rules["script-src"].split() == [f"'sha256-{value}'" for value in hashes]
    assert len(hashes) == 3


def test_foreign_text_stays_text(page: str) -> None:
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert entities.escape("SIGSEGV </script><img src=x onerror=alert(1)>", quote=False) in page
    assert "&lt;b&gt;Segmentation fault&lt;/b&gt;" in page
    assert len(SCRIPT.findall(page)) == 3


@given(st.recursive(st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists))
def test_embedded_data_survives_and_cannot_end_its_element(data: Any) -> None:
    text = str(embed({"data": data}))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"data": data}


def test_figures_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        embed({"value": float("nan")})


def test_licences_travel_with_the_code(page: str) -> None:
    for name in ("d3.LICENSE", "plot.LICENSE"):
        assert (ASSETS / name).read_text() in page


def test_vendored_files_are_those_that_the_readme_names() -> None:
    rows = re.findall(r"^\| (\S+\.js) \|.*\| ([0-9a-f]{64}) \|$", (ASSETS / "README.md").read_text(), re.M)
    assert {name for name, _ in rows} == {"d3.min.js", "plot.umd.min.js"}
    for name, digest in rows:
        data = (ASSETS / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
        assert b"</script" not in data.lower()


def test_verdict_and_findings_come_before_figures(page: str) -> None:
    places = [
        page.index(f'id="{name}"')
        for name in ("findings", "servers", "latency", "load", "why", "setup", "limits")
    ]
    assert page.index('class="verdict fail"') < places[0]
    assert places == sorted(places)


def test_every_section_that_the_navigation_names_is_there(page: str) -> None:
    linked = re.findall(r'<li><a href="#([a-z]+)">', page)
    assert linked
    assert [f'<section id="{name}"' in page for name in linked] == [True] * len(linked)
    assert len(linked) == page.count("<section id=")


def test_every_chart_has_a_name_a_caption_and_its_table(page: str) -> None:
    figures = re.findall(r"<figure.*?</figure>", page, re.S)
    assert len(figures) == 6
    for figure in figures:
        name = re.search(r'data-chart="([a-z]+)"', figure)
        assert name is not None
        assert f'aria-labelledby="{name[1]}-title"' in figure
        assert "<figcaption>" in figure
        assert '<details class="figures">' in figure


def test_tables_have_captions_and_headings(page: str) -> None:
    tables = re.findall(r"<table>.*?</table>", page, re.S)
    assert len(tables) >= 6
    for table in tables:
        assert "<caption" in table
        assert 'scope="col"' in table
        assert 'scope="row"' in table


def test_a_sweep_has_its_curves(page: str) -> None:
    swept = html(*judged.sweep())
    assert 'data-chart="sweep"' in swept
    assert 'data-chart="bars"' not in swept
    assert data_of(swept)["sweep"]["path"] == "swarm.users"
    assert 'data-chart="sweep"' not in page


def test_a_run_without_measurements_or_trials_has_a_page() -> None:
    run, summary = judged.failed()
    dead = html(run, summary)
    assert 'class="verdict unknown"' in dead
    assert "server died (SIGSEGV) in phase warmup" in dead
    empty = html(replace(run, trials=()), Summary(run=run.id, scenario="dead"))
    assert "No check was made." in empty


def test_a_quantile_among_requests_without_an_answer_is_a_lower_bound(page: str) -> None:
    row = re.search(r'<tr><th scope="row">select \(at its limit\)</th>.*?</tr>', page, re.S)
    assert row is not None
    assert "≥\u00a043.7" in row[0]


def long_run() -> tuple[Run, Summary]:
    """A soak: many servers, each with twenty minutes of seconds."""
    run, _ = judged.golden()
    first = run.trials[3]
    assert first.load is not None
    warm = first.load.seconds[:2]
    many = [first.load.seconds[3].replaced(k=k) for k in range(2, 1202)]
    start_ms = first.load.window_ms[0]
    result = first.load.result.replaced(window_mono_ms=[start_ms, start_ms + 1_200_000])
    load = replace(first.load, seconds=(*warm, *many), result=result)
    names = [f"server{n}" for n in range(3)]
    bare = replace(first, load=load, series=Series())
    trials = tuple(replace(of_server(bare, name, *names), id=f"{name}/1") for name in names)
    long = replace(run, trials=trials)
    return long, summarise(long)


def test_a_long_run_is_thinned_and_stays_small() -> None:
    page = html(*long_run())
    assert len(page.encode()) < LIMIT_BYTES
    lines = data_of(page)["timelines"]
    assert [len(line["seconds"]) for line in lines] == [201] * 3  # steps of six seconds: 240 points at most


def test_a_file_that_would_be_too_large_leaves_time_lines_out_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lab.report.html.LIMIT_BYTES", 540_000)
    page = html(*judged.golden())
    assert data_of(page)["timelines"] == []
    assert "Time lines are left out" in page


def luminance(colour: str) -> float:
    value = colour.lstrip("#")
    digits = [int(value[i] * 2 if len(value) == 3 else value[2 * i : 2 * i + 2], 16) / 255 for i in range(3)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in digits)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_and_lines_stand_out_in_light_and_dark() -> None:
    """WCAG 2.2: 4.5 to 1 for text; chart colours are text too, for they label their lines."""
    css = (ASSETS / "report.css").read_text()
    themes = [
        dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{3,6})", block))
        for block in re.findall(r":root \{.*?\}", css, re.S)
    ]
    assert len(themes) == 3
    for theme, name in itertools.product(
        themes, ("ink", "soft", "link", "good", "bad", "doubt", "calm", *(f"c{n}" for n in range(8)))
    ):
        assert contrast(theme[name], theme["bg"]) >= 4.5, (name, theme[name])


def test_the_golden_run_on_disk_is_the_one_in_memory() -> None:
    from lab.results import store

    run, _ = judged.golden()
    stored = store.read_run(make_golden.GOLDEN)
    assert stored.damaged == ()
    assert [trial.id for trial in stored.trials] == [trial.id for trial in run.trials]
    for there, here in zip(stored.trials, run.trials, strict=True):
        assert there.series.points.keys() == here.series.points.keys(), "run tests/support/make_golden.py"
        assert counts(there) == counts(here)


def counts(record: TrialRecord) -> dict[str, Any]:
    """The result without its histograms, whose bytes depend on the version of zlib."""
    result = record.load.result.to_json() if record.load else {}
    return {name: value for name, value in result.items() if not name.endswith("_hdr")}
