"""What every source file keeps to."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path for folder in ("rt_engine", "drivers", "protocols", "gui") for path in (ROOT / folder).rglob("*.py")
)
KERNELS = sorted((ROOT / "rt_engine" / "kernels").glob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _public(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Public classes and functions of a module, and the public methods of its public classes."""
    found: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef] = []
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            found.append(node)
            if isinstance(node, ast.ClassDef):
                found += [m for m in node.body if isinstance(m, Function) and not m.name.startswith("_")]
    return found


def _is_declaration(node: ast.AST) -> bool:
    """A member of a Protocol that its class describes: its body is `...` alone."""
    return isinstance(node, Function) and len(node.body) == 1 and "Ellipsis" in ast.dump(node.body[0])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), path
    silent = [node.name for node in _public(tree) if not ast.get_docstring(node) and not _is_declaration(node)]
    assert silent == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_parameters_are_the_real_ones(path: Path) -> None:
    for node in _public(ast.parse(path.read_text(encoding="utf-8"))):
        section = re.search(r"Parameters\n-+\n(.*?)(?=\n[A-Z][a-z]+\n-+|\Z)", ast.get_docstring(node) or "", re.DOTALL)
        if section is None or not isinstance(node, Function):
            continue
        names = re.findall(r"^([\w*, ]+?) :", section[1], re.MULTILINE)
        documented = {name.strip().lstrip("*") for group in names for name in group.split(",")}
        arguments = node.args
        real = {a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]}
        real |= {a.arg for a in (arguments.vararg, arguments.kwarg) if a}
        assert documented <= real, f"{path.name}:{node.lineno} {node.name} documents {documented - real}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_times_and_lengths_carry_their_unit(path: Path) -> None:
    bare = {
        "timeout",
        "duration",
        "latency",
        "period",
        "width",
        "power",
        "frequency",
        "wavelength",
        "delay",
        "interval",
    }
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            found = bare & {a.arg for a in arguments}
            assert not found, f"{path.name}:{node.lineno} {node.name}: {found} without a unit"


@cache
def _called_from_python() -> set[tuple[str, str]]:
    """(kernel file, name) of everything that is imported from the kernels by other folders."""
    found = set()
    for path in FILES:
        if path in KERNELS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rt_engine.kernels."):
                found |= {(str(node.module).rpartition(".")[2], alias.name) for alias in node.names}
    return found


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_kernels_that_python_calls_are_compiled_with_explicit_signatures(path: Path) -> None:
    called = _called_from_python()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, Function) or (path.stem, node.name) not in called:
            continue
        for decorator in node.decorator_list:
            if "njit" in ast.dump(decorator):
                assert isinstance(decorator, ast.Call), f"{path.name}: {node.name}"
                assert decorator.args, f"{path.name}: {node.name} has no signature"


def test_help_loads_no_numerics() -> None:
    code = (
        "import sys; from rt_engine.cli import build_parser; build_parser().format_help(); "
        "print(sorted({'numba', 'scipy', 'numpy', 'zmq'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
