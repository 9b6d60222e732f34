"""The rules of imports see what they must see: each fault is set in a small tree."""

from __future__ import annotations

from graphlib import CycleError
from pathlib import Path

import pytest

from tests.support import import_graph
from tests.support.import_graph import graph, require_no_circle, sibling_faults

BACKENDS = "images/server/iomodels/models"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two rooms, a package of images and a folder of two backends that share `base`; nothing is wrong."""
    write(tmp_path, "lab/__init__.py", "lab/plan/__init__.py", "lab/plan/plan.py", "lab/run/__init__.py")
    write(tmp_path, "images/swarm/__init__.py", "images/swarm/pool.py", f"{BACKENDS}/__init__.py")
    write(tmp_path, f"{BACKENDS}/base.py", "images/server/iomodels/__init__.py")
    write(tmp_path, "lab/run/run.py", text="from lab.plan import plan\n")
    write(tmp_path, "images/swarm/settings.py", text="import json\n")
    write(tmp_path, f"{BACKENDS}/poll.py", f"{BACKENDS}/select.py", text="from .base import loop\n")
    return tmp_path


def write(root: Path, *paths: str, text: str = "") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def circle_in(root: Path) -> list[str]:
    with pytest.raises(CycleError) as caught:
        require_no_circle(graph(root, "lab", "images"))
    return list(caught.value.args[1])


def test_the_tree_has_no_fault(tree: Path) -> None:
    require_no_circle(graph(tree, "lab", "images"))
    assert sibling_faults(tree, BACKENDS, {"base": "the loop"}) == []
    assert graph(tree, "lab")["lab.run.run"] == {"lab.plan.plan"}


@pytest.mark.parametrize(
    "text",
    [
        "from . import select",
        "from .select import serve",
        "from ..models import select",
        "from iomodels.models import select",
        "import iomodels.models.select",
        "def serve():\n    from . import select",
        'import importlib\nimportlib.import_module("iomodels.models.select")',
        '__import__("iomodels.models.select")',
    ],
)
def test_a_backend_that_imports_another_is_named_however_it_is_written(tree: Path, text: str) -> None:
    write(tree, f"{BACKENDS}/epoll.py", text=f"from .base import loop\n{text}\n")
    assert sibling_faults(tree, BACKENDS, {"base": "the loop"}) == [f"{BACKENDS}/epoll.py imports select"]


def test_what_backends_share_knows_none_of_them(tree: Path) -> None:
    write(tree, f"{BACKENDS}/base.py", text="from . import poll\n")
    assert sibling_faults(tree, BACKENDS, {"base": "the loop"}) == [f"{BACKENDS}/base.py imports poll"]


def test_a_row_that_no_file_uses_is_a_fault(tree: Path) -> None:
    write(tree, f"{BACKENDS}/lone.py")
    faults = sibling_faults(tree, BACKENDS, {"base": "the loop", "lone": "nothing", "gone": "no file"})
    assert faults == [f"{BACKENDS}: no file shares {name}" for name in ("gone", "lone")]


def test_a_folder_with_one_backend_is_a_fault(tree: Path) -> None:
    [fault] = sibling_faults(tree, BACKENDS, {"base": "the loop", "select": "a backend, hidden here"})
    assert "fewer than two backends" in fault


@pytest.mark.parametrize("text", ["from .pool import take", "import swarm.pool", "from swarm import pool"])
def test_a_circle_in_the_images_is_found(tree: Path, text: str) -> None:
    write(tree, "images/swarm/pool.py", text="from . import settings\n")
    write(tree, "images/swarm/settings.py", text=text)
    assert set(circle_in(tree)) == {"swarm.pool", "swarm.settings"}


def test_a_circle_in_the_lab_is_found(tree: Path) -> None:
    write(tree, "lab/plan/plan.py", text="from lab.run.run import start\n")
    assert set(circle_in(tree)) == {"lab.plan.plan", "lab.run.run"}


def test_an_import_by_a_literal_name_is_an_import(tree: Path) -> None:
    write(tree, "lab/run/run.py", text='def go():\n    return import_module("docker.errors")\n')
    assert import_graph.tops(tree / "lab/run/run.py", tree) == {"docker"}


@pytest.mark.parametrize(
    "call", ["import_module(name)", 'importlib.import_module(f"lab.{name}")', "__import__(x)"]
)
def test_an_import_by_a_computed_name_has_its_line(tree: Path, call: str) -> None:
    write(tree, "lab/run/run.py", text=f"import importlib\n{call}\n")
    assert import_graph.computed(tree / "lab/run/run.py") == [2]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="would hold nothing"):
        import_graph.files(tmp_path, "lab")
