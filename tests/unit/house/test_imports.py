"""Who may import whom (ARCHITECTURE.md): one row a folder, held by reading the code's own imports."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TypeGuard

import pytest

from lab.common.paths import ROOT

# A room of lab/ and the rooms that it may import; `common` is open to all. An unused entry is an error.
ROOMS: dict[str, set[str]] = {
    "common": set(),
    "scenario": set(),
    "results": {"scenario"},
    "engine": set(),
    "plan": {"scenario"},
    "runtime": {"engine", "plan"},
    "impair": {"scenario", "plan", "runtime", "results"},
    "load": {"scenario", "plan", "runtime", "results"},
    "collect": {"plan", "runtime", "results"},
    "analysis": {"scenario", "results"},
    "report": {"scenario", "plan", "results", "analysis"},
    "export": {"scenario", "plan", "runtime"},
    "schema": {"scenario", "analysis"},
    "doctor": {"engine", "plan", "runtime", "collect"},
    "run": {"scenario", "plan", "engine", "runtime", "impair", "load", "collect", "results", "analysis"},
    "verbs": {
        "scenario", "plan", "engine", "runtime", "impair", "run", "results", "analysis", "report", "export",
        "schema", "doctor",
    },
    "cli": {"verbs"},
}  # fmt: skip

HANDLERS = "images/server/iomodels/handlers"
# Folders of backends, each backend behind the protocol in the folder's __init__, and the other files of the
# folder: every file that is not named here is a backend. No backend knows another.
NO_BACKENDS: dict[str, set[str]] = {
    "lab/runtime": {
        "cleanup", "container", "docker_spec", "journal", "launch", "node_log", "realtime", "watchdog",
    },
    "lab/impair": {
        "answers", "apply", "argv", "helper", "link", "placement", "readback", "tc_plan", "trial",
    },
    "lab/collect": {"bpf", "cpu_sets"},
    HANDLERS: set(),
}  # fmt: skip

# Packages of images/ and what they may import of images/; lab/ and images/ share data only.
PACKAGES: dict[str, set[str]] = {
    "wire": set(),
    "kernel": set(),
    "nettools": {"kernel"},
    "swarm": {"wire", "kernel"},
    "server/iomodels": {"wire"},
}
MODELS_MAY_IMPORT = {"listen", "native", "session", "stats", "units"}


# The top folders of the checkout and which others each may import; images/ is no package, its folders are.
TOPS: dict[str, set[str]] = {
    "lab": set(),
    "images": set(),
    "testbed": {"lab"},
    "bench": {"lab", "images", "testbed"},
    "tests": {"lab", "images", "testbed"},
    "scenarios": set(),
}


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module, and every name out of one, that a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 or path.is_relative_to(ROOT / "images"), f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return frozenset(found)


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} is empty: the rule would hold nothing"
    return found


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules_in(path: Path, known: set[str]) -> Iterator[str]:
    """Modules that a file imports; `from package import module` is the module, not the package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & known
        if isinstance(node, ast.ImportFrom):
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from {name if name in known else node.module or "" for name in named} & known


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "lab").with_suffix("").parts[0]


def rooms_of(path: Path) -> set[str]:
    parts = (name.split(".") for name in imports(path))
    return {part[1] for part in parts if part[0] == "lab" and len(part) > 1 and part[1] != "__version__"}


def used_by(room: str) -> set[str]:
    where = [ROOT / "lab/cli.py"] if room == "cli" else files(f"lab/{room}")
    return set().union(*map(rooms_of, where)) - {room, "common"}


def test_every_file_of_the_lab_is_in_a_room_of_the_table():
    rooms = {room_of(path) for path in files("lab")} - {"__init__"}
    assert rooms == set(ROOMS), "a room without a row, or a row without a room"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_its_row_allows_and_uses_all_of_it(room):
    for path in files("lab") if room != "cli" else [ROOT / "lab/cli.py"]:
        if room_of(path) == room:
            beyond = rooms_of(path) - ROOMS[room] - {room, "common"}
            assert not beyond, f"{path} imports {sorted(beyond)}: not in the row of {room}"
    assert used_by(room) == ROOMS[room], f"the row of {room} allows what nobody imports"


def test_the_rooms_have_no_circle():
    TopologicalSorter(ROOMS).prepare()  # raises CycleError with the circle


def test_no_module_of_the_lab_is_in_a_circle():
    modules = {module_of(path): path for path in files("lab")}
    graph = {name: set(modules_in(path, set(modules))) - {name} for name, path in modules.items()}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("folder", NO_BACKENDS)
def test_backends_of_one_folder_do_not_import_each_other(folder):
    package = folder.removeprefix("images/server/").replace("/", ".")
    stems = {path.stem for path in files(folder)} - {"__init__"}
    assert NO_BACKENDS[folder] <= stems, "a name without a file"
    backends = stems - NO_BACKENDS[folder]
    assert len(backends) > 1, "the rule would hold nothing"
    for name in backends:
        path = ROOT / folder / f"{name}.py"
        beyond = imports(path) & {f"{package}.{other}" for other in backends - {name}}
        assert not beyond, (
            f"{path} imports {sorted(beyond)}: a file that backends share stands in NO_BACKENDS"
        )


def test_the_images_packages_import_what_their_row_allows_and_use_all_of_it():
    tops = {package.split("/")[-1] for package in PACKAGES}
    for package, allowed in PACKAGES.items():
        used = {name.split(".")[0] for path in files(f"images/{package}") for name in imports(path)}
        assert used & tops - {package.split("/")[-1]} == allowed, package
    inside = {path.relative_to(ROOT / "images") for path in files("images")}
    beyond = [path for path in inside if not any(path.is_relative_to(package) for package in PACKAGES)]
    assert not beyond, "a file of images/ in no package of the table"


def tops_of(path: Path) -> set[str]:
    firsts = {name.split(".")[0] for name in imports(path)}
    images = {"images"} if firsts & {package.split("/")[-1] for package in PACKAGES} else set()
    return firsts & set(TOPS) | images


def test_every_top_folder_with_python_files_is_in_the_table():
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tops = {path.split("/")[0] for path in listed.split("\0") if (ROOT / path).is_file()}
    assert tops == set(TOPS), "a top folder without a row, or a row without Python files"


@pytest.mark.parametrize("top", TOPS)
def test_a_top_folder_imports_what_its_row_allows_and_uses_all_of_it(top):
    used = {other: path for path in files(top) for other in tops_of(path) - {top}}
    assert set(used) <= TOPS[top], f"not in the row of {top}: {used}"
    assert set(used) == TOPS[top], f"the row of {top} allows what nobody imports"


def test_the_orchestrator_imports_no_library_of_the_swarm():
    for path in files("lab"):
        assert not {name.split(".")[0] for name in imports(path)} & {"locust", "gevent"}, path


def test_tests_share_by_support_only():
    for path in files("tests"):
        beyond = {n for n in imports(path) if n.startswith("tests.") and not n.startswith("tests.support")}
        assert not beyond, f"{path} imports {sorted(beyond)}: what tests share belongs to tests/support"


def test_a_model_imports_the_seam_only_and_models_use_all_of_it():
    used: dict[str, Path] = {}
    for path in files("images/server/iomodels/models"):
        for name in imports(path):
            parts = name.split(".")
            assert parts[0] not in ("wire", "swarm"), f"{path}: {name}"
            if parts[0] == "iomodels" and len(parts) > 1:
                used[parts[1]] = path
    assert set(used) == MODELS_MAY_IMPORT, used


def test_nothing_in_the_lab_calls_print():
    for path in files("lab"):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if is_print(node)]
        assert not calls, f"{path}:{calls[0].lineno}: print_out and print_err of lab.verbs.streams write"


def is_print(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
