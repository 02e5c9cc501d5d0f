"""The house: no import cycle, and a map in CONTRIBUTING.md that is the tree."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"bark_jax": "bark_jax", "convert": "bark_jax.convert", "recipes": "recipes", "benchmarks": "benchmarks"}


def modules() -> dict[str, Path]:
    """Dotted name → file of every module, as installed."""
    found = {}
    for folder, package in FOLDERS.items():
        for file in (ROOT / folder).rglob("*.py"):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = file
    return found


def imports(name: str, file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of ours that one imports anywhere, also inside functions and for type checkers."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                target = f"{source}.{alias.name}"
                yield from (n for n in [target if target in known else source] if n in known)


def test_no_module_imports_itself_by_way_of_others() -> None:
    known = modules()
    # `import bark_jax.x` also runs bark_jax/__init__.py, which only names what there is.
    graph = {name: set(imports(name, file, known)) - {name} for name, file in known.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError with the cycle
    assert len(order) == len(known)


def test_the_package_imports_neither_recipes_nor_pytorch() -> None:
    for name, file in modules().items():
        if name.startswith("bark_jax") and not name.startswith("bark_jax.convert"):
            source = file.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(?:import|from) (?:recipes|benchmarks|torch|transformers)\b", source, re.M), name


def mapped() -> set[str]:
    """The paths in CONTRIBUTING's map: a line is a path, some spaces and what it is for."""
    block = re.search(r"```text\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.S)
    assert block
    paths, folders = set(), [""]
    for line in block[1].splitlines():
        entry = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        del folders[depth + 1 :]
        paths.add(folders[-1] + entry)
        folders.append(folders[-1] + entry)
    return paths


@pytest.mark.parametrize("folder", ["", "bark_jax/"])
def test_the_map_is_the_tree(folder: str) -> None:
    ours = {p.name for p in (ROOT / folder).iterdir() if not p.name.startswith((".", "__pycache__", "build", "dist"))}
    ours -= {name for name in ours if name.endswith((".egg-info", ".typed"))}
    there = {f"{name}/" if (ROOT / folder / name).is_dir() else name for name in ours}
    here = {path.removeprefix(folder) for path in mapped() if path.startswith(folder) and path != folder}
    assert {path for path in here if "/" not in path.rstrip("/")} == there


def test_files_are_short() -> None:
    long = {name: lines for name, file in modules().items() if (lines := len(file.read_text().splitlines())) > 320}
    assert not long
