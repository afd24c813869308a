"""A result must not depend on the kind of processor: no kernel lets the compiler choose how it rounds."""

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


def test_loose_options_are_seen() -> None:
    assert _loose('njit(fastmath={"contract"})') == {"fastmath"}
    assert _loose('OPTIONS = {"parallel": True}; njit(**OPTIONS)') == {"parallel"}
