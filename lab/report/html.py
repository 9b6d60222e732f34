"""report.html: one offline file. Nothing in it leads outside: no request, and a policy that forbids any.

Everything a run brought along (log lines, names, findings) is data: Jinja escapes it, and the charts' JSON is
escaped so that no text can end its script element. Scripts run by their hashes only.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lab.analysis.charts import charts
from lab.analysis.model import Summary
from lab.report.content.server_order import in_order
from lab.report.content.sweeps import sweep
from lab.report.html_page import page
from lab.results.record import Run

ASSETS = Path(__file__).parent / "assets"
LIMIT_BYTES = 1_500_000
# Points of a time line, from the first that lets the file stay below its limit; at 0 time lines are left out.
RESOLUTIONS = (240, 120, 60, 30, 0)


def html(run: Run, summary: Summary) -> str:
    """Return the page. The same run and summary give the same bytes."""
    summary = in_order(summary)
    for resolution in RESOLUTIONS:
        text = _render(run, summary, resolution)
        if len(text.encode()) <= LIMIT_BYTES:
            break
    return text


def embed(data: Any) -> Markup:
    """JSON for a script element. `<` and its kin are escaped: no text of the data can end the element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _render(run: Run, summary: Summary, resolution: int) -> str:
    data = charts(run, summary, max(resolution, 1)) | {"sweep": sweep(summary)}
    if not resolution:
        data["timelines"] = []
    scripts = _scripts()
    context = page(run, summary, data)
    if not resolution:
        context["limits"].append("Time lines are left out: with them this file would be too large.")
    text: str = _template().render(
        **context,
        css=Markup(_asset("report.css")),
        scripts=[Markup(script) for script in scripts],
        policy=policy(scripts),
        data=embed(data),
    )
    return text + "\n"


def policy(scripts: tuple[str, ...]) -> str:
    """Return the content-security policy: only these scripts, our styles, and nothing from anywhere."""
    sources = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def _scripts() -> tuple[str, ...]:
    return (
        _vendored("d3.min.js", "d3.LICENSE"),
        _vendored("plot.umd.min.js", "plot.LICENSE"),
        _asset("report.js"),
    )


def _vendored(name: str, licence: str) -> str:
    return f"/*!\n{_asset(licence)}*/\n{_asset(name)}"


@functools.cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


@functools.cache
def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=False,
    )
    return environment.get_template("report.html")
