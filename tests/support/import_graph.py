"""What the Python files of a tree import: relative imports and literal `import_module` names resolved."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

# Folders whose Python files are imported by their path below this folder; all others by that below the root.
SOURCES = ("images/server", "images")
DYNAMIC = ("import_module", "__import__")


@cache
def files(root: Path, folder: str) -> tuple[Path, ...]:
    """Return the Python files below a folder. An empty folder is an error: a rule would hold nothing."""
    found = tuple(sorted((root / folder).rglob("*.py")))
    assert found, f"{folder} is empty: the rule would hold nothing"
    return found


def module_of(path: Path, root: Path) -> str:
    """Return the name under which a file is imported: `lab.run`, `swarm.pool`, `iomodels.app`."""
    source = next((root / top for top in SOURCES if path.is_relative_to(root / top)), root)
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, root: Path) -> frozenset[str]:
    """Return every module, and every name out of one, that a file imports, at any depth."""
    return frozenset(name for names in _imports(path, root) for name in names)


@cache
def _imports(path: Path, root: Path) -> frozenset[tuple[str, ...]]:
    """Return for each import what it may name, the longest first: `package.module`, else `package`."""
    package = module_of(path if path.name == "__init__.py" else path.parent / "__init__.py", root).split(".")
    return frozenset(
        names
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for names in _named(node, package)
    )


def _named(node: ast.AST, package: list[str]) -> Iterator[tuple[str, ...]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name,) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else []
        origin = ".".join([*above, *([node.module] if node.module else [])])
        yield from ((f"{origin}.{alias.name}", origin) for alias in node.names)
    elif isinstance(node, ast.Call) and _called(node) in DYNAMIC and _is_literal(node):
        yield (ast.literal_eval(node.args[0]),)


def computed(path: Path) -> list[int]:
    """Return the lines that import a module by a name which is not written there."""
    calls = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]
    return [call.lineno for call in calls if _called(call) in DYNAMIC and not _is_literal(call)]


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def _is_literal(node: ast.Call) -> bool:
    return bool(node.args) and isinstance(node.args[0], ast.Constant)


def tops(path: Path, root: Path) -> set[str]:
    """Return the first word of each import."""
    return {name.split(".")[0] for name in imports(path, root)}


def graph(root: Path, *folders: str) -> dict[str, set[str]]:
    """Return which modules of the folders each imports; `from package import module` is the module."""
    paths = {module_of(path, root): path for folder in folders for path in files(root, folder)}
    return {name: _known(path, root, paths) - {name} for name, path in paths.items()}


def _known(path: Path, root: Path, known: Container[str]) -> set[str]:
    first = (next((name for name in names if name in known), None) for names in _imports(path, root))
    return {name for name in first if name is not None}


def require_no_circle(modules: Mapping[str, set[str]]) -> None:
    """Raise CycleError with the circle."""
    TopologicalSorter(modules).prepare()


def sibling_faults(root: Path, folder: str, shared: Mapping[str, str]) -> list[str]:
    """Return what breaks the rule of a folder of backends: its files import of it only what they share.

    Args:
        root: The checkout.
        folder: A folder of backends; those below it are others.
        shared: What its files share, each with what it is. What no other file imports is a fault.
    """
    here = {module_of(path, root): path for path in (root / folder).glob("*.py")}
    stems = {name.rpartition(".")[2]: name for name, path in here.items() if path.name != "__init__.py"}
    if len(stems.keys() - shared) < 2:
        return [f"{folder}: fewer than two backends: the rule would hold nothing"]
    used: set[str] = set()
    faults = []
    for stem, name in stems.items():
        siblings = {other for other in stems.keys() - {stem} if stems[other] in imports(here[name], root)}
        used |= siblings
        faults += [f"{folder}/{stem}.py imports {other}" for other in sorted(siblings - shared.keys())]
    return faults + [f"{folder}: no file shares {stem}" for stem in sorted(shared.keys() - used)]
