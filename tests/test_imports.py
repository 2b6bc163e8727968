"""Imports go one way, and what only reads text imports neither torch nor Lightning."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

ENGINE = ROOT / "blueprint"
REGISTRY = ROOT / "registry" / "blueprint_registry"

#: The order of the engine's parts: a file imports, at its top, only from its own part and those before it.
ORDER = [
    {"tree", "files", "visible", "choice", "unknown"},
    {"diagnosis", "arithmetic"},
    {"formula"},
    {"rules", "site", "section", "component", "kinds", "data_kinds", "learning_kinds", "registry", "describe"},
    {"schema"},
    {"load"},
    {"plan"},
    {"render", "diff", "picture"},
    {"ops"},
    {"model"},
    {"cost", "inference"},
    {"training", "testing"},
    {"build_folder"},
    {"interop"},
    {"cli"},
]
TORCH_FREE = {
    "tree",
    "files",
    "arithmetic",
    "visible",
    "choice",
    "diagnosis",
    "formula",
    "rules",
    "site",
    "component",
    "kinds",
    "data_kinds",
    "learning_kinds",
    "registry",
} | {
    "schema",
    "load",
    "plan",
    "render",
    "diff",
    "picture",
    "describe",
}

#: The half of interop that reads families and configs; the other half moves tensors.
TORCH_FREE_FILES = {
    "interop/__init__.py",
    "interop/compress.py",
    "interop/config.py",
    "interop/env.py",
    "interop/expression.py",
    "interop/family.py",
    "interop/invert.py",
    "interop/numeric.py",
    "interop/outline.py",
    "interop/solve.py",
    "interop/template.py",
    "interop/value.py",
    "interop/view.py",
    "interop/walk.py",
    "interop/write_spec.py",
}


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "_specs" not in path.parts)


def part_of(path: Path) -> str:
    return path.relative_to(ENGINE).parts[0].removesuffix(".py")


def imported(path: Path, *, lazily: bool = False) -> Iterator[str]:
    """The modules a file imports when it is imported; with `lazily` also inside its functions."""
    tree = ast.parse(path.read_text())
    queue: list[ast.AST] = list(tree.body)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not lazily:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        queue += list(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", files(ENGINE), ids=lambda p: str(p.relative_to(ENGINE)))
def test_the_engine_imports_one_way(path: Path) -> None:
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    rank = next((i for i, parts in enumerate(ORDER) if part in parts), None)
    assert rank is not None, f"{part} has no place in the order of imports"
    allowed = set().union(*ORDER[: rank + 1])
    for module in imported(path):
        if module.startswith("blueprint."):
            assert module.split(".")[1] in allowed, f"{path.name} imports {module}, which comes after it"
        assert not module.startswith("blueprint_registry"), "the engine never names the registry"
        if part in TORCH_FREE or path.relative_to(ENGINE).as_posix() in TORCH_FREE_FILES:
            assert module.split(".")[0] not in ("torch", "lightning"), f"{path.name} imports {module}"
        if part in ("ops", "model", "inference", "cost"):
            assert module.split(".")[0] != "lightning", "models never import Lightning"


@pytest.mark.parametrize("path", files(REGISTRY), ids=lambda p: str(p.relative_to(REGISTRY)))
def test_components_import_the_contract_alone(path: Path) -> None:
    contract = {"blueprint.component", "blueprint.kinds", "blueprint.visible", "blueprint.choice", "blueprint.files"}
    for module in imported(path, lazily=True):
        if module.split(".")[0] == "blueprint":
            assert module in contract or (module.startswith("blueprint.ops")), f"{path.name} imports {module}"
    if not path.stem.endswith("_nn"):
        heavy = [module for module in imported(path) if module.split(".")[0] in ("torch", "lightning")]
        assert not heavy, f"{path.name} imports {heavy} where a component is only said"


def test_the_engine_names_no_component() -> None:
    """No engine file compares with, or looks up, a registered component by its name."""
    from blueprint.registry import kinds, names

    # The words a spec's sections default to are said where the sections are; model types and strategies are the
    # engine's own.
    known = {name for kind in kinds() for name in names(kind) if kind not in ("model", "strategy")}
    for path in files(ENGINE):
        if part_of(path) == "schema":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                said = [c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)]
                both = known & set(said) - {
                    "none",
                    "full",
                    "text",
                    "plain",
                    "linear",
                    "scaled",
                    "head",
                    "normal",
                    "layer",
                    "sum",
                }
                assert not both, f"{path}:{node.lineno} compares with {both}"


@pytest.mark.parametrize("config", ["{", '{"model_type": "nobody"}'])
def test_a_config_that_is_refused_costs_no_torch(config: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    words = ["import", str(tmp_path), "-o", str(tmp_path / "out")]
    code = f"import sys; from blueprint.cli.main import run; print(run({words!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "1 False", done.stderr


@pytest.mark.parametrize(
    "module", ["blueprint", "blueprint.load", "blueprint.plan", "blueprint.cli.main", "blueprint.interop.template"]
)
def test_reading_imports_no_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'lightning', 'omegaconf'}} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
