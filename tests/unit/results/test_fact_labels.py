"""Every recorded fact of the environment has plain words; no report shows a raw key."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from lab.analysis.checks import RUN_CHECKS, TRIAL_CHECKS
from lab.analysis.comparison import compare
from lab.common.figures import FIGURES
from lab.common.leaves import leaves
from lab.engine import connect
from lab.report.comparison import html as comparison_html
from lab.report.comparison import markdown as comparison_markdown
from lab.report.content.environment import all_facts
from lab.report.html import html
from lab.report.markdown import markdown
from lab.results.fact_labels import LABELS, label
from lab.results.manifest import Environment, RunLimits
from lab.scenario import catalog
from lab.scenario.scenario import Expect
from tests.support import compared_runs, judged

RAW = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b|\b(?:host|engine|limits|environment)\.[a-z]")


def fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The dotted names of a record's fields, down to those that are no records."""
    for name, field in model.model_fields.items():
        nested = [one for one in typing.get_args(field.annotation) if _is_model(one)]
        if nested:
            yield from fields(nested[0], f"{path}{name}.")
        elif not any(typing.get_origin(one) for one in typing.get_args(field.annotation) if _is_map(one)):
            yield path + name


def _is_model(one: object) -> bool:
    return isinstance(one, type) and issubclass(one, BaseModel)


def _is_map(one: object) -> bool:
    return typing.get_origin(one) is Mapping


def engine_facts() -> dict[str, Any]:
    """What the lab records of an engine."""
    info = dict.fromkeys(
        ("KernelVersion", "OperatingSystem", "Architecture", "CgroupDriver", "Driver", "NCPU", "MemTotal",
         "ContainersRunning"), 1,
    )  # fmt: skip
    components = [{"Name": "containerd", "Version": "2"}]
    version = {"Version": "29", "ApiVersion": "1.52", "Components": components}
    api = SimpleNamespace(version=lambda: version, info=lambda: info)
    return connect.facts(SimpleNamespace(api=api))


def test_every_field_of_the_environment_and_of_the_limits_has_a_label() -> None:
    known = [*fields(Environment), *fields(RunLimits, "limits.")]
    assert {"host.cpu_model", "limits.worker.nofile", "placement.overlap"} <= set(known)
    assert [fact for fact in known if fact not in LABELS] == []


def test_every_fact_of_an_engine_has_a_label() -> None:
    facts = [".".join(path) for path, _ in leaves({"engine": engine_facts()})]
    assert [fact for fact in facts if fact not in LABELS and "components" not in fact] == []
    assert label("engine.components.containerd") == "containerd of the engine"


def test_labels_are_words_and_none_stands_for_two_facts() -> None:
    assert [words for words in LABELS.values() if RAW.search(words)] == []
    assert len(set(LABELS.values())) == len(LABELS)


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ("environment.host.cpu_model", "CPU"),
        ("environment.images.server", "image of the server"),
        ("limits.server_sysctls.net.core.somaxconn", "net.core.somaxconn of the server"),
        ("load.swarm.spawn-rate", "swarm.spawn-rate of the scenario"),
        ("environment.host.of_an_older_lab", "host of an older lab"),
    ],
)
def test_facts_are_called_by_their_label(fact: str, words: str) -> None:
    assert label(fact) == words


def test_no_table_of_the_environment_shows_a_raw_key() -> None:
    run, summary = judged.golden()
    rows = all_facts(run, summary)
    assert len(rows) > 5
    assert [fact for fact, _ in rows if RAW.search(fact)] == []
    for page in (html(run, summary), markdown(run, summary)):
        assert all(fact in page for fact, _ in rows)


def test_differences_of_the_environment_show_no_raw_key() -> None:
    base = compared_runs.run(compared_runs.sampled("epoll_lt", 100, pairs=1))
    head = compared_runs.run(compared_runs.sampled("epoll_lt", 100, pairs=1), "head")
    made = compare(base, [compared_runs.other_machine(head, memory_bytes=1 << 30, cpu_model="Another")])
    for page in (comparison_html(made), comparison_markdown(made)):
        assert "these differ, so every decision is INCONCLUSIVE: CPU, memory" in page
        assert "host.memory_bytes" not in page
        assert "cpu_model" not in page


def visible(page: str) -> str:
    """What a browser shows of a page without scripts."""
    return re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", page, flags=re.S)


def test_a_page_shows_no_raw_key_but_names_that_a_user_types_or_looks_up() -> None:
    """Checks are looked up in docs/validity.md; servers, metrics and limits are typed; the rest is words."""
    run, summary = judged.golden()
    known = {one.name for one in (*TRIAL_CHECKS, *RUN_CHECKS)} | {figure.name for figure in FIGURES}
    known |= set(catalog.models()) | set(Expect.model_fields) | {"measurement", "x86_64"}
    for model in catalog.models().values():
        known |= {*model.syscalls.must, *model.syscalls.never}
    kinds = {kind for server in summary.servers.values() for kind in server.errors.by_kind}
    for page in (visible(html(run, summary)), markdown(run, summary)):
        raw = set(re.findall(r"(?<![.\w/])[a-z0-9]+(?:_[a-z0-9]+)+\b", page))
        assert raw - known - kinds == set()
