"""Load a Scenario from files, environment and flags, and remember where each value came from.

Precedence: flags > `LAB_…` environment > scenario > lab.yaml > built-in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab.common.errors import UsageError
from lab.scenario.layers import Layers, Origin, from_environment, mapping, merge_defaults, split_defaults
from lab.scenario.located import refused, validated
from lab.scenario.resolved import Resolved as Resolved
from lab.scenario.resolved import changed as changed
from lab.scenario.resolved import files_problem
from lab.scenario.resolved import with_values as with_values
from lab.scenario.scenario import Scenario
from lab.scenario.settings import RuntimeName as RuntimeName
from lab.scenario.settings import Settings as Settings
from lab.scenario.sweep import check_sweep
from lab.scenario.sweep import sweep_points as sweep_points
from lab.scenario.yaml_file import Document, read

# Comments that are for programs and lawyers: an editor's modeline, a licence, the line of an interpreter.
_NO_QUESTION = re.compile(
    r"#!|#\s*(yaml-language-server:|-\*-|vim?:|ex:|SPDX-|copyright\b|\(c\)|©|licen[cs]ed?\b)", re.IGNORECASE
)


def load(
    path: Path,
    *,
    lab_yaml: Path,
    environment: Mapping[str, str] | None = None,
    overrides: Iterable[str] = (),
    runtime: str | None = None,
    source: str | None = None,
) -> Resolved:
    """Read and validate a scenario. `overrides` have the form `path.to.key=value`. Raises UsageError."""
    environment = environment or {}
    document = read(path, source)
    defaults = _lab_yaml(lab_yaml)
    settings = _settings(defaults, runtime, environment)
    tree = _merged(document, defaults, environment, overrides)
    question = first_comment(path)
    if question and "question" not in tree.data:
        tree.data["question"] = question
    scenario = validated(Scenario, tree.data, tree.origins, document)
    resolved = Resolved(scenario, settings, tree.data, tree.origins, path.parent)
    if problem := files_problem(resolved):
        raise refused(problem, tree.origins, document)
    check_sweep(resolved)
    return resolved


def load_settings(lab_yaml: Path) -> Settings:
    """Read the settings of lab.yaml, without its `defaults`. Raises UsageError."""
    return _settings(_lab_yaml(lab_yaml), None, {})


def first_comment(path: Path) -> str:
    """Return the first comment line of a scenario, which is its question, or an empty text."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            break
        text = line.lstrip("# ").strip()
        if text and not _NO_QUESTION.match(line):
            return text
    return ""


def _lab_yaml(path: Path) -> Document:
    return read(path, path.name) if path.exists() else Document("lab.yaml", {})


def _settings(defaults: Document, runtime: str | None, environment: Mapping[str, str]) -> Settings:
    """Return the settings of lab.yaml, with those of the variables, and of the flag."""
    data, _ = split_defaults(defaults)
    settings = validated(Settings, data, {}, defaults)
    given = (
        ("$LAB_REAL_TIME", "real-time", environment.get("LAB_REAL_TIME")),
        ("$LAB_RUNTIME", "runtime", environment.get("LAB_RUNTIME")),
        ("--runtime", "runtime", runtime),
    )
    for where, key, word in given:
        if word:
            flag = Document(where, None)
            data = {**data, key: {"true": True, "false": False}.get(word, word)}
            settings = validated(Settings, data, {(key,): Origin(flag, ())}, flag)
    return settings


def _merged(
    document: Document, defaults: Document, environment: Mapping[str, str], overrides: Iterable[str]
) -> Layers:
    tree = Layers()
    data = mapping(document, document.data, ())
    _, shared = split_defaults(defaults)
    merge_defaults(tree, defaults, mapping(defaults, shared, ("defaults",)), data)
    tree.merge(document, data)
    for variable, name, text in from_environment(environment):
        tree.override(name, text, f"${variable}")
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {item}: write it as path.to.key=value, such as swarm.users=100")
        tree.override(key, text, f"--set {key}")
    return tree
