"""Files and functions stay short enough to read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from lab.common.paths import ROOT
from tests.support.import_graph import files

FOLDERS = ("lab", "images", "testbed")
FILE_LINES, FUNCTION_LINES = 350, 60
# Files that may be longer, each with the reason. An entry that is not longer is an error.
LONGER = {
    "images/server/iomodels/stats.py": "counters and their reporter: the seam that every model imports",
}


def long_files(root: Path, *folders: str) -> set[str]:
    found = (path for folder in folders for path in files(root, folder))
    return {str(path.relative_to(root)) for path in found if len(lines(path)) > FILE_LINES}


def long_functions(root: Path, *folders: str) -> list[str]:
    return [
        f"{path.relative_to(root)}:{node.lineno} {node.name}"
        for folder in folders
        for path in files(root, folder)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > FUNCTION_LINES
    ]


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_is_longer_than_350_lines() -> None:
    assert long_files(ROOT, *FOLDERS) == set(LONGER)


def test_no_function_is_longer_than_60_lines() -> None:
    assert not long_functions(ROOT, *FOLDERS)


@pytest.mark.parametrize("more", [0, 1])
def test_one_line_more_is_seen(tmp_path: Path, more: int) -> None:
    (tmp_path / "lab").mkdir()
    body = "    pass\n" * (FUNCTION_LINES - 1 + more)
    text = f"def f():\n{body}"
    (tmp_path / "lab/one.py").write_text(text + "\n" * (FILE_LINES - text.count("\n") + more))
    assert long_files(tmp_path, "lab") == ({"lab/one.py"} if more else set())
    assert long_functions(tmp_path, "lab") == (["lab/one.py:1 f"] if more else [])
