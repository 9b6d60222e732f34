"""Names for shell completion. It runs at every press of TAB: it imports nothing heavy and parses no YAML."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from lab.common.paths import ROOT, SCENARIOS

SERVER = re.compile(r"^  ([a-z0-9][a-z0-9._-]*):")


def scenario_names() -> list[str]:
    """Return every scenario by its name for `lab run`: its path below scenarios/ without .yaml."""
    return sorted(str(path.relative_to(SCENARIOS).with_suffix("")) for path in SCENARIOS.rglob("*.yaml"))


def scenarios(incomplete: str) -> list[str]:
    """Return scenario names, and YAML files where a path is being typed."""
    if "/" in incomplete or incomplete.startswith("."):
        folder, _, start = incomplete.rpartition("/")
        found = Path(folder or ("/" if incomplete.startswith("/") else ".")).glob(f"{start}*")
        paths = [f"{path}/" if path.is_dir() else str(path) for path in found]
        known = [path for path in paths if path.endswith(("/", ".yaml", ".yml"))]
        return _starting(incomplete, [*scenario_names(), *sorted(known)])
    return _starting(incomplete, scenario_names())


def servers(incomplete: str) -> list[str]:
    """Return the servers of the scenario on the command line."""
    for word in _typed():
        path = Path(word) if word.endswith((".yaml", ".yml")) else SCENARIOS / f"{word}.yaml"
        if path.is_file():
            return _starting(incomplete, servers_in(path.read_text(encoding="utf-8", errors="replace")))
    return []


def _typed() -> list[str]:
    """Return the words typed so far after `lab VERB`, from the variables of bash, or of zsh and fish.

    The parser does not know them: it stops at an option whose value is not typed yet.
    """
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return line.split()[2:]


def servers_in(text: str) -> list[str]:
    """Return the keys below `servers:`, read by indentation: enough for completion, without a YAML parser."""
    names: list[str] = []
    inside = False
    for line in text.splitlines():
        if line[:1].strip() and not line.startswith("#"):
            inside = line.startswith("servers:")
        elif inside and (match := SERVER.match(line)):
            names.append(match[1])
    return names


def runs(incomplete: str) -> list[str]:
    """Return `latest` and the run ids, newest first."""
    folder = ROOT / (os.environ.get("LAB_RESULTS") or "results")
    ids = sorted((path.parent.name for path in folder.glob("*/manifest.json")), reverse=True)
    return _starting(incomplete, ["latest", *(id_ for id_ in ids if id_ != "latest")])


def up_runs(incomplete: str) -> list[str]:
    """Return the runs that are up, by their journals: RUN.RANDOM.jsonl."""
    from lab.common.owner import state_dir

    found = {path.name.rsplit(".", 2)[0] for path in (state_dir() / "journal").glob("*.jsonl")}
    return _starting(incomplete, sorted(found))


def models(incomplete: str) -> list[str]:
    """Return the models, from the manifest itself: the catalog would import pydantic."""
    import tomllib

    manifest = tomllib.loads((ROOT / "images/server/manifest.toml").read_text(encoding="utf-8"))
    return _starting(incomplete, manifest["models"])


def runtimes(incomplete: str) -> list[str]:
    """Return the runtimes."""
    return _starting(incomplete, ["auto", "docker", "local"])


def schemas(incomplete: str) -> list[str]:
    """Return the JSON Schemas."""
    return _starting(incomplete, ["scenario", "settings", "summary"])


def matrix_forms(incomplete: str) -> list[str]:
    """Return the formats of `lab matrix`."""
    return _starting(incomplete, ["github", "gitlab", "json"])


def ci_systems(incomplete: str) -> list[str]:
    """Return the CI systems of `--ci`."""
    return _starting(incomplete, ["auto", "github", "gitlab", "none"])


def _starting(start: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(start)]
