"""JUnit, CI annotations and OpenMetrics: texts that other programs parse."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest
from junitparser import JUnitXml

from lab.analysis.model import Finding, Summary
from lab.report import ci
from lab.report.junit import junit
from lab.report.markdown import markdown
from lab.report.openmetrics import openmetrics
from lab.results.record import Run
from tests.support import judged


def test_junit_has_a_case_for_every_trial_and_threshold() -> None:
    run, summary = judged.golden()
    text = junit(run, summary)
    assert text == junit(run, summary)
    suite = next(iter(JUnitXml.fromstring(text.encode())))
    cases = {case.name: case for case in suite}
    assert {trial.id for trial in run.trials} <= cases.keys()
    assert (suite.tests, suite.failures, suite.errors) == (17, 3, 2)
    assert [result.type for result in cases["asyncio/2"].result] == ["lateness"]
    assert cases["epoll_lt/1"].is_passed
    assert cases["epoll_lt/1"].time == 8.0
    assert cases["select/1"].system_out == "expected: held 1,017, as expected"


def test_junit_is_well_formed_whatever_the_logs_say() -> None:
    run, summary = judged.golden()
    root = ElementTree.fromstring(junit(run, summary).encode())
    died = next(case for case in root.iter("testcase") if case.get("name") == "crash/1")
    failure = died.find("failure")
    assert failure is not None
    assert (failure.get("message") or "").startswith("SIGSEGV </script><img src=x onerror=alert(1)>[31m&")


def test_a_failed_trial_without_a_finding_is_an_error() -> None:
    run, summary = judged.failed()
    suite = next(iter(JUnitXml.fromstring(junit(run, summary).encode())))
    assert (suite.tests, suite.errors) == (1, 1)


def test_the_ci_system_is_told_by_its_own_variables() -> None:
    assert ci.detect({"GITHUB_ACTIONS": "true", "CI": "true"}) == "github"
    assert ci.detect({"GITLAB_CI": "true"}) == "gitlab"
    assert ci.detect({"CI": "true"}) == "none"


def test_workflow_commands_are_one_per_finding_and_broken_threshold() -> None:
    _, summary = judged.golden()
    lines = ci.workflow_commands(summary, "scenarios/golden.yaml").splitlines()
    assert [line.split(" ")[0] for line in lines] == [
        "::error", "::error", "::warning", "::warning", "::notice", "::error",
    ]  # fmt: skip
    assert lines[0] == (
        "::error file=scenarios/golden.yaml,title=golden%3A lateness::"
        "asyncio/2: sends were late → lower the rate"
    )


def test_no_text_can_start_a_workflow_command_of_its_own() -> None:
    finding = Finding(
        check="x,y:z", level="invalid", says="a\n::error::b%0A::stop-commands::c\r\n::warning::d"
    )
    text = ci.workflow_commands(Summary(run="r", scenario="s", findings=(finding,)))
    assert text == "::error title=s%3A x%2Cy%3Az::a ::error::b%250A::stop-commands::c ::warning::d\n"


def test_at_most_ten_annotations_of_a_kind() -> None:
    many = tuple(Finding(check=f"c{n}", level="suspect", says="x") for n in range(30))
    assert len(ci.workflow_commands(Summary(run="r", scenario="s", findings=many)).splitlines()) == 10


def test_nothing_to_annotate_is_nothing() -> None:
    assert ci.workflow_commands(Summary(run="r", scenario="s")) == ""


def test_a_gitlab_section_opens_and_closes() -> None:
    section = ci.gitlab_section("lab report", "golden: FAIL", "body\n", 1_700_000_000)
    assert section.startswith(
        "\x1b[0Ksection_start:1700000000:lab_report[collapsed=true]\r\x1b[0Kgolden: FAIL\nbody\n"
    )
    assert section.endswith("section_end:1700000000:lab_report\r\x1b[0K\n")


def test_the_step_summary_is_the_markdown_report() -> None:
    report = markdown(*judged.golden())
    assert ci.step_summary(report) == report
    assert len(ci.step_summary(report * 200).encode()) <= ci.STEP_SUMMARY_BYTES < len(report * 200)


LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)+)\} (-?[0-9.e+-]+)')


@pytest.mark.parametrize("make", [judged.golden, judged.sweep, judged.failed])
def test_openmetrics_follows_the_rules_of_its_specification(
    make: Callable[[], tuple[Run, Summary]],
) -> None:
    """OpenMetrics 1.0: families whole and once, metadata first, units as suffixes, every series once."""
    *lines, end = openmetrics(make()[1]).removesuffix("\n").split("\n")
    assert end == "# EOF"
    kinds: dict[str, str] = {}
    series: set[str] = set()
    for line in lines:
        if line.startswith("# "):
            word, name, says = line[2:].split(" ", 2)
            if word == "TYPE":
                assert name not in kinds
                assert says in ("gauge", "summary", "stateset")
                kinds[name] = says
            assert name == list(kinds)[-1]
            assert word != "UNIT" or name.endswith(f"_{says}")
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        assert name == list(kinds)[-1]
        assert f"{name}{{{labels}}}" not in series
        series.add(f"{name}{{{labels}}}")
        assert math.isfinite(float(value))
        given = dict(LABEL.findall(labels))
        assert len(given) == len(LABEL.findall(labels))
        assert ("quantile" in given) == (kinds[name] == "summary")
        assert 0 <= float(given.get("quantile", 0)) <= 1
        if kinds[name] == "stateset":
            assert name in given
            assert value in ("0", "1")


def test_openmetrics_has_base_units_and_leaves_out_what_is_not_known() -> None:
    _, summary = judged.golden()
    text = openmetrics(summary)
    p99 = re.search(r'lab_response_seconds\{[^}]*server="thread"[^}]*quantile="0.99"\} (\S+)', text)
    assert p99 is not None
    p99_ms = summary.servers["thread"].response_ms.p99
    assert p99_ms is not None
    assert float(p99[1]) == float(f"{p99_ms / 1000:.10g}")
    assert not re.search(r'server="select"[^}]*quantile="0.99"', text)
    assert 'lab_verdict="FAIL"} 1' in text
    assert 'lab_verdict="PASS"} 0' in text


def test_openmetrics_escapes_labels() -> None:
    text = openmetrics(Summary(run='a"b\\c\nd', scenario="s"))
    assert r'run="a\"b\\c d"' in text
