"""Who may import whom (ARCHITECTURE.md): tables, held by reading the code's own imports."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import TypeGuard

import pytest

from lab.common.paths import ROOT
from tests.support import import_graph
from tests.support.import_graph import require_no_circle, sibling_faults

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

# A library and the rooms that import it. Every library is here; an unused entry is an error.
LIBRARIES: dict[str, set[str]] = {
    "docker": {"engine", "runtime"},
    "requests": {"engine"},
    "urllib3": {"engine"},
    "pydantic": {"scenario", "results", "impair", "run", "schema", "analysis", "verbs"},
    "pydantic_core": {"scenario"},
    "yaml": {"scenario", "export", "report", "run"},
    "hdrh": {"analysis", "load"},
    "numpy": {"analysis"},
    "scipy": {"analysis"},
    "jinja2": {"report"},
    "junitparser": {"report"},
    "markupsafe": {"report"},
    "rich": {"report", "verbs"},
    "typer": {"cli", "verbs"},
}

# Folders of backends, and what the files of each share. A file imports nothing else of its folder: no backend
# knows another, and what they share knows none. Folders below are others. An unused entry is an error.
MODELS, HANDLERS = "images/server/iomodels/models", "images/server/iomodels/handlers"
BACKENDS: dict[str, dict[str, str]] = {
    "lab/runtime": {
        "cleanup": "removes what an earlier process left",
        "container": "a container of the runtime docker, as a node",
        "docker_spec": "how a container is created",
        "journal": "what is up, on disk",
        "node_log": "the JSON lines of a node",
        "realtime": "the budget of the real-time class",
        "watchdog": "removes what a killed process leaves",
    },
    "lab/impair": {
        "answers": "what a helper prints",
        "apply": "links in force, by any backend",
        "argv": "the commands of tc",
        "helper": "runs commands in a node",
        "link": "values",
        "placement": "links on interfaces",
        "readback": "what tc shows",
        "trial": "the links of a trial",
    },
    "lab/collect": {"bpf": "the bpf system call", "cgroup": "the files of a control group"},
    "lab/report": {
        "html_page": "the template that pages share",
        "markdown_text": "escaped text and tables",
    },
    "lab/export": {"link_words": "links as they were written"},
    "lab/engine/build": {"builder": "runs a build", "context": "the files of a build"},
    "lab/scenario/load": {
        "executor": "the protocol",
        "fields": "types of keys",
        "settings": "what a node gets",
        "think_time": "its distribution",
    },
    "images/wire": {
        "_errors": "the error of all wires",
        "_cache": "a bounded cache",
        "_http_body": "a part of http1",
        "_http_encode": "a part of http1",
        "_http_head": "a part of http1",
    },
    "images/swarm/exchange": {"base": "the protocol"},
    "images/swarm/executors": {
        "arrivals": "times of requests",
        "base": "the protocol",
        "closed_load": "users that wait for answers",
        "open_load": "requests at their times",
        "stages": "a load that changes",
        "think_time": "its distribution",
    },
    MODELS: {},
    HANDLERS: {},
    "images/server/iomodels/sessions": {"_request_response": "a session of requests"},
}
# Folders whose files make up one thing together. Each folder of lab/ and images/ is here or above.
WHOLES = {
    "lab", "lab/analysis", "lab/analysis/checks", "lab/common", "lab/doctor", "lab/engine", "lab/load",
    "lab/plan", "lab/report/content", "lab/report/live", "lab/results", "lab/run", "lab/scenario",
    "lab/schema", "lab/verbs",
    "images/kernel", "images/nettools", "images/swarm", "images/server/iomodels",
    "images/server/iomodels/native",
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
# Folders of tests/unit besides those of the rooms; `cli.py` is tested with the verbs.
UNIT_BESIDES = {"house", "images"}


def files(folder: str) -> tuple[Path, ...]:
    return import_graph.files(ROOT, folder)


def imports(path: Path) -> frozenset[str]:
    return import_graph.imports(path, ROOT)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "lab").with_suffix("").parts[0]


def files_of(room: str) -> list[Path]:
    return [path for path in files("lab") if room_of(path) == room]


def rooms_of(path: Path) -> set[str]:
    parts = (name.split(".") for name in imports(path))
    return {part[1] for part in parts if part[0] == "lab" and len(part) > 1 and part[1] != "__version__"}


def used_by(room: str) -> set[str]:
    return set().union(*map(rooms_of, files_of(room))) - {room, "common"}


def test_every_file_of_the_lab_is_in_a_room_of_the_table():
    rooms = {room_of(path) for path in files("lab")} - {"__init__"}
    assert rooms == set(ROOMS), "a room without a row, or a row without a room"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_its_row_allows_and_uses_all_of_it(room):
    for path in files_of(room):
        beyond = rooms_of(path) - ROOMS[room] - {room, "common"}
        assert not beyond, f"{path} imports {sorted(beyond)}: not in the row of {room}"
    assert used_by(room) == ROOMS[room], f"the row of {room} allows what nobody imports"


def test_the_rooms_have_no_circle():
    require_no_circle(ROOMS)


def test_a_library_is_imported_in_the_rooms_of_its_row_and_in_all_of_them():
    used: dict[str, set[str]] = {}
    for path in files("lab"):
        for name in import_graph.tops(path, ROOT) - set(sys.stdlib_module_names) - {"lab"}:
            assert room_of(path) in LIBRARIES.get(name, ()), f"{path} imports {name}: not in its row"
            used.setdefault(name, set()).add(room_of(path))
    assert used == LIBRARIES, "a row allows what nobody imports"


def test_the_lab_imports_nothing_by_a_computed_name():
    for path in files("lab"):
        assert not import_graph.computed(path), f"{path}:{import_graph.computed(path)[0]}: write the name"


def test_no_module_is_in_a_circle():
    require_no_circle(import_graph.graph(ROOT, "lab", "images"))


def test_a_folder_holds_backends_or_makes_up_a_whole():
    folders = {
        str(path.parent.relative_to(ROOT)) for path in (*files("lab"), *files("images"))
    }  # fmt: skip
    assert folders == BACKENDS.keys() | WHOLES, "a folder in neither table, or a row without a folder"
    assert not BACKENDS.keys() & WHOLES


@pytest.mark.parametrize("folder", BACKENDS)
def test_backends_of_one_folder_import_of_it_what_they_share_and_all_of_that(folder):
    assert not sibling_faults(ROOT, folder, BACKENDS[folder])


def test_the_images_packages_import_what_their_row_allows_and_use_all_of_it():
    tops = {package.split("/")[-1] for package in PACKAGES}
    for package, allowed in PACKAGES.items():
        used = set().union(*(import_graph.tops(path, ROOT) for path in files(f"images/{package}")))
        assert used & tops - {package.split("/")[-1]} == allowed, package
    inside = {path.relative_to(ROOT / "images") for path in files("images")}
    beyond = [path for path in inside if not any(path.is_relative_to(package) for package in PACKAGES)]
    assert not beyond, "a file of images/ in no package of the table"


def tops_of(path: Path) -> set[str]:
    firsts = import_graph.tops(path, ROOT)
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


def test_the_unit_tests_mirror_the_rooms():
    folders = {path.relative_to(ROOT / "tests/unit").parts[0] for path in files("tests/unit")}
    assert folders == ROOMS.keys() - {"cli"} | UNIT_BESIDES, "tests/unit has a folder for each room, no other"


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "cli"])
def test_a_unit_test_imports_the_room_of_its_folder(room):
    for path in files(f"tests/unit/{room}"):
        support = [ROOT / f"{name.replace('.', '/')}.py" for name in imports(path)]
        reached = [path, *(one for one in support if one.is_relative_to(ROOT / "tests") and one.is_file())]
        wanted = {room, "cli"} if room == "verbs" else {room}
        assert set().union(*map(rooms_of, reached)) & wanted, f"{path} is about another room than {room}"


def test_tests_share_by_support_only():
    for path in files("tests"):
        beyond = {n for n in imports(path) if n.startswith("tests.") and not n.startswith("tests.support")}
        assert not beyond, f"{path} imports {sorted(beyond)}: what tests share belongs to tests/support"


def test_a_model_imports_the_seam_only_and_models_use_all_of_it():
    used: dict[str, Path] = {}
    for path in files(MODELS):
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
