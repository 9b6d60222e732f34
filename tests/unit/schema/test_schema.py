"""The JSON Schemas: fresh, agreeing with the loader, and named by the modeline of every scenario."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import yaml

from lab import schema
from lab.analysis.model import Summary
from lab.common.errors import UsageError
from lab.common.paths import LAB_YAML, ROOT
from lab.plan import plan
from lab.scenario import catalog
from lab.schema.descriptions import DESCRIPTIONS
from lab.verbs import shared
from lab.verbs.completion import scenario_names
from tests.support.scenarios import TEXT


def validator(name):
    return jsonschema.Draft202012Validator(json.loads(schema.text(name)))


@pytest.mark.parametrize("name", schema.SCHEMAS)
def test_the_file_is_what_the_models_give(name):
    path = schema.FOLDER / f"{name}.json"
    assert path.exists(), "make it with: make generated"
    assert path.read_text() == schema.text(name), "make it anew: make generated"
    jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_is_valid_by_its_schema_and_names_it(name):
    path = shared.find_scenario(name)
    validator("scenario").validate(yaml.safe_load(path.read_text()))
    modeline = next(line for line in path.read_text().splitlines() if "yaml-language-server" in line)
    target = modeline.partition("$schema=")[2].strip()
    assert (path.parent / target).resolve() == schema.FOLDER / "scenario.json"


def test_lab_yaml_is_valid_by_its_schema():
    validator("settings").validate(yaml.safe_load(LAB_YAML.read_text()))


WRONG = [
    ("model: thread", "model: thred"),
    ("users: 10", "user: 10"),
    ("rate: 100/s", "rate: 100"),
    ("users: 10", "users: 0"),
    ("name: small\n", ""),
    ("executor: constant-arrival-rate", "executor: constant"),
]


@pytest.mark.parametrize(("right", "wrong"), WRONG)
def test_it_refuses_what_the_loader_refuses(right, wrong, tmp_path):
    data = yaml.safe_load(TEXT.replace(right, wrong))
    assert not validator("scenario").is_valid(data)
    path = tmp_path / "wrong.yaml"
    path.write_text(TEXT.replace(right, wrong))
    with pytest.raises(UsageError):
        shared.load(str(path))
    assert validator("scenario").is_valid(yaml.safe_load(TEXT))


def test_an_editor_is_offered_the_models_of_the_catalog():
    servers = json.loads(schema.text("scenario"))["$defs"]["Server"]["properties"]
    assert servers["model"]["enum"] == list(catalog.models())


def test_a_summary_is_valid_by_its_schema():
    summary = Summary(run="r", scenario="s", question="", exit_code=0)
    validator("summary").validate(json.loads(summary.model_dump_json()))


def test_an_unknown_schema_names_those_that_are():
    with pytest.raises(UsageError, match="scenario, settings, summary"):
        schema.text("scenarios")


def test_the_reference_names_every_key():
    """docs/scenario.md: whoever adds a key to the scenario says there what it means."""
    text = (ROOT / "docs/scenario.md").read_text()
    root = json.loads(schema.text("scenario"))
    parts = [root, *root["$defs"].values()]
    keys = {key for part in parts for key in part.get("properties", {})}
    missing = [key for key in keys if not re.search(rf"\b{re.escape(key)}\b", text)]
    assert not missing, f"say in docs/scenario.md what {', '.join(sorted(missing))} means"


def test_the_example_of_the_reference_is_a_scenario(tmp_path):
    text = (ROOT / "docs/scenario.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert example
    (tmp_path / "example.yaml").write_text(example[1])
    _, resolved = shared.load(str(tmp_path / "example.yaml"))
    assert resolved.scenario.question.endswith("?")
    assert len(plan.expand(resolved).trials) == 24


def properties(part, where=""):
    """Yield the place and the schema of every property."""
    if isinstance(part, list):
        for one in part:
            yield from properties(one, where)
    elif isinstance(part, dict):
        for key, one in part.items():
            if key == "properties":
                for name, inner in one.items():
                    yield f"{where}.{name}", inner
                    yield from properties(inner, f"{where}.{name}")
            elif key == "$defs":
                for name, inner in one.items():
                    yield from properties(inner, name)
            elif key != "examples":
                yield from properties(one, where)


@pytest.mark.parametrize("name", ["scenario", "settings"])
def test_every_property_is_described(name):
    missing = [
        where for where, one in properties(json.loads(schema.text(name))) if not one.get("description")
    ]
    assert not missing, f"say in lab/schema/descriptions.py what they are: {', '.join(missing)}"


def test_every_description_has_its_property_and_is_a_sentence():
    places = {
        where for name in ("scenario", "settings") for where, _ in properties(json.loads(schema.text(name)))
    }
    last = {(place.split(".")[0], place.split(".")[-1]) for place in places}
    for part, keys in DESCRIPTIONS.items():
        for key, words in keys.items():
            assert (part, key) in last or (not part and any(place.endswith(f".{key}") for place in places))
            assert words[0].isupper()
            assert words.endswith(".")
