"""A result must not depend on the kind of processor: neither compiler nor library chooses how a run rounds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("rt_engine", "drivers", "protocols", "gui")
    for path in (ROOT / folder).rglob("*.py")
    if "numba" in path.read_text(encoding="utf-8")
)
LOOSE = {"fastmath", "parallel"}
"""Options of numba: sums in another order and products fused with sums; sums by the number of threads."""

OF_A_RUN = sorted(path for folder in ("kernels", "pipeline") for path in (ROOT / "rt_engine" / folder).rglob("*.py"))
OTHER_ON_OTHERS = {
    *{"exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "power", "sinh", "cosh", "tanh"},
    *{"dot", "vdot", "inner", "matmul", "tensordot", "einsum", "linalg", "@"},
}
"""Of numpy and math: other code, or another library's, on another processor."""
ALLOWED = {
    ("calcium.py", "exp"): "of the virtual sample",
    ("render.py", "log"): "of the virtual sample",
    ("drive_smoother.py", "log"): "of calibration",
    ("drive_evidence.py", "log"): "of three constants, rounded as the true values are",
    ("plain_functions.py", "log"): "of what has none",
    ("overlap.py", "linalg"): "a figure of calibration",
    ("overlap.py", "@"): "a figure of calibration",
}


def _loose(source: str) -> set[str]:
    """Loose options that a source names, as an argument or as a key of a dict of arguments."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg is not None:
            found.add(node.arg)
        elif isinstance(node, ast.Dict):
            found |= {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return found & LOOSE


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_kernel_may_round_as_the_compiler_likes(path: Path) -> None:
    assert _loose(path.read_text(encoding="utf-8")) == set()


def _other_on_others(source: str) -> set[str]:
    """Functions that differ from processor to processor, called by their module; and products of matrices."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("np", "math"):
            found.add(node.attr)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            found.add("@")
    return found & OTHER_ON_OTHERS


@pytest.mark.parametrize("path", OF_A_RUN, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_run_takes_functions_that_differ_between_processors(path: Path) -> None:
    found = _other_on_others(path.read_text(encoding="utf-8"))
    assert {name for name in found if (path.name, name) not in ALLOWED} == set()


def test_functions_that_differ_are_seen() -> None:
    assert _other_on_others("np.exp(x) + np.sqrt(x) + exp(x) + a @ b + np.linalg.qr(c)") == {"exp", "@", "linalg"}


def test_loose_options_are_seen() -> None:
    assert _loose('njit(fastmath={"contract"})') == {"fastmath"}
    assert _loose('OPTIONS = {"parallel": True}; njit(**OPTIONS)') == {"parallel"}
