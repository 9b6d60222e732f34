"""Who may import whom (ARCHITECTURE.md): held here, by reading the code's own imports."""

# ruff: noqa: E501  (tables are easier to read in one line a row)

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VALUES = {
    "scenario", "swarming", "loads", "settings", "part", "links", "events", "units", "yamlfile", "catalog", "plan", "capacity", "host", "topology", "render",
    "common", "record", "metrics", "store", "results",
}  # fmt: skip
BACKENDS = {"runtime", "impair", "load", "collect", "engine", "images"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


def room(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "lab" and len(parts) > 1 else None


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} is empty: the test would hold nothing"
    return found


def rooms_of(path: Path) -> set[str]:
    return {r for name in imports(path) if (r := room(name))}


@pytest.mark.parametrize("name", ["analysis", "report"])
def test_judging_and_reporting_need_no_backend(name):
    for path in files(f"lab/{name}"):
        assert not rooms_of(path) & BACKENDS, path


def test_values_import_values_only():
    for path in [ROOT / "lab" / f"{name}.py" for name in VALUES if (ROOT / "lab" / f"{name}.py").exists()]:
        allowed = VALUES | {"impair"} if path.stem == "links" else VALUES
        assert rooms_of(path) <= allowed | {"ROOT", "__version__"}, path


def test_backends_of_one_folder_do_not_import_each_other():
    for one, other in [("runtime/local", "runtime.docker"), ("runtime/docker", "runtime.local")]:
        assert not any(name.startswith(f"lab.{other}") for name in imports(ROOT / "lab" / f"{one}.py"))


def test_the_orchestrator_and_the_images_share_data_only():
    theirs = ("iomodels", "wire", "swarm", "nettools", "kernel")
    for path in files("lab"):
        assert not any(name.split(".")[0] in theirs for name in imports(path)), path
        assert not any(name.split(".")[0] in ("locust", "gevent") for name in imports(path)), path
    for path in files("images"):
        assert not any(name.split(".")[0] == "lab" for name in imports(path)), path


def test_a_model_imports_the_seam_only():
    for path in files("images/server/iomodels/models"):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] in ("iomodels", "wire", "swarm"):
                assert parts[0] == "iomodels", f"{path}: {name}"
                assert len(parts) == 1 or parts[1] in ("listen", "session", "stats", "native", "units"), (
                    f"{path}: {name}"
                )


def test_only_the_command_line_prints():
    for path in files("lab"):
        prints = [
            node for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        ]  # fmt: skip
        if path.name not in ("cli.py", "launch.py", "watchdog.py"):
            assert not prints, path
