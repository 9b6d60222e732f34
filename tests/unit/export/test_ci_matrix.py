"""The CI matrix: jobs, three formats, and the workflow files that use it, each valid by its schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml

from lab.common.errors import UsageError
from lab.common.paths import ROOT
from lab.export import ci_matrix
from tests.support.scenarios import TEXT, resolved


@pytest.fixture
def found(tmp_path):
    return ci_matrix.jobs([("small", resolved(tmp_path).scenario)])


def valid(schema, *files):
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_cell_is_a_server_of_a_scenario(found):
    assert json.loads(ci_matrix.render(found, "json")) == [
        {"name": "small-thread", "scenario": "small", "server": "thread"},
        {"name": "small-epoll_lt", "scenario": "small", "server": "epoll_lt"},
    ]


def test_github_takes_one_line(found):
    text = ci_matrix.render(found, "github")
    assert "\n" not in text
    assert [cell["server"] for cell in json.loads(text)["include"]] == ["thread", "epoll_lt"]


def test_gitlab_takes_a_child_pipeline_that_extends_our_jobs(found, tmp_path):
    file = tmp_path / "pipeline.yml"
    file.write_text(ci_matrix.render(found, "gitlab"))
    valid("vendor.gitlab-ci", file)
    pipeline = yaml.safe_load(file.read_text())
    (included,) = (entry["local"] for entry in pipeline["include"])
    templates = yaml.safe_load((ROOT / included).read_text())
    assert {pipeline["measure"]["extends"], pipeline["merge"]["extends"]} <= set(templates)
    assert {templates[".lab-run"]["stage"], templates[".lab-merge"]["stage"]} == set(pipeline["stages"])
    assert pipeline["measure"]["parallel"]["matrix"] == [
        {"SCENARIO": ["small"], "SERVER": ["thread", "epoll_lt"]}
    ]


def test_the_files_for_ci_are_valid_by_their_schemas():
    valid("vendor.github-workflows", ROOT / ".github/workflows/lab.yml")
    valid("vendor.gitlab-ci", *sorted((ROOT / "docs/ci").glob("*.yml")))


def test_the_workflow_hands_matrix_values_to_shells_as_variables_only():
    """A name that the runner writes into a script would be a command of whoever chose the name."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/lab.yml").read_text())
    scripts = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert len(scripts) >= 4
    assert not [script for script in scripts if "${{" in script]
    assert workflow["permissions"] == {"contents": "read"}


def test_the_workflow_pins_what_others_wrote():
    workflow = yaml.safe_load((ROOT / ".github/workflows/lab.yml").read_text())
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", name)] == []


def test_a_matrix_that_the_system_would_refuse_is_refused(tmp_path):
    servers = "\n".join(f"  s{number}: {{model: thread}}" for number in range(257))
    text = TEXT.replace("  thread: {model: thread}\n  epoll_lt: {model: epoll_lt}", servers)
    many = ci_matrix.jobs([("many", resolved(tmp_path, text).scenario)])
    with pytest.raises(UsageError, match="257 jobs, github takes 256"):
        ci_matrix.render(many, "github")
    assert len(json.loads(ci_matrix.render(many, "json"))) == 257


def test_names_are_unique_and_forms_are_known(found, tmp_path):
    scenario = resolved(tmp_path).scenario
    with pytest.raises(UsageError, match="small-thread"):
        ci_matrix.jobs([("one", scenario), ("two", scenario)])
    with pytest.raises(UsageError, match="github, gitlab, json"):
        ci_matrix.render(found, "jenkins")
