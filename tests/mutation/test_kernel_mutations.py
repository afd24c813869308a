"""Every kernel, made wrong in a small way, fails its own tests (opt-in, half an hour).

On a copy of the repository: the kernels that are worked with are not touched. Most of the time would go into compiling,
so whatever tests pass without the compiler are run without it; the mistakes are the same.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mutation.kernel_mutations import KERNEL_TESTS, MUTATIONS, WITHOUT_KERNELS

ROOT = Path(__file__).parents[2]
PASSED, FAILED = 0, 1
UNCOMPILED_S = 30.0  # tests that take longer without the compiler are run with it
CASES = [(kernel, i) for kernel, mutations in MUTATIONS.items() for i in range(len(mutations))]


def test_every_kernel_file_is_made_wrong_somewhere() -> None:
    files = {path.stem for path in (ROOT / "rt_engine" / "kernels").glob("*.py")} - WITHOUT_KERNELS
    assert files == set(MUTATIONS) == set(KERNEL_TESTS)


@pytest.mark.parametrize(("kernel", "i"), CASES)
def test_what_is_to_be_changed_stands_there_once(kernel: str, i: int) -> None:
    source = (ROOT / "rt_engine" / "kernels" / f"{kernel}.py").read_text(encoding="utf-8")
    assert source.count(MUTATIONS[kernel][i].old) == 1


def run_tests(copy: Path, kernel: str, *, compiled: bool, timeout_s: float = 3600) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        f"tests/unit/{KERNEL_TESTS[kernel]}",
    ]
    environment = os.environ | {"PYTHONPATH": str(copy), "NUMBA_DISABLE_JIT": "0" if compiled else "1"}
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def forget_compiled(copy: Path, kernel: str) -> None:
    """Remove what was compiled of a kernel file and of everything that may have taken code from it."""
    changed, stale = {kernel}, {kernel}
    while changed:
        pattern = re.compile(r"\b(" + "|".join(sorted(changed)) + r")\b")
        found = {p.stem for p in (copy / "rt_engine").rglob("*.py") if pattern.search(p.read_text(encoding="utf-8"))}
        changed = (found & set(KERNEL_TESTS)) - stale
        stale |= changed
    for path in (copy / "rt_engine").rglob("*.nb[ic]"):
        if path.name.partition(".")[0] in stale:
            path.unlink()


@pytest.mark.mutation
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kernel", MUTATIONS)
def test_a_mistake_in_a_kernel_is_caught(copy: Path, kernel: str) -> None:
    try:
        compiled = run_tests(copy, kernel, compiled=False, timeout_s=UNCOMPILED_S).returncode != PASSED
    except subprocess.TimeoutExpired:
        compiled = True
    if compiled:
        right = run_tests(copy, kernel, compiled=True)
        assert right.returncode == PASSED, right.stdout
    path = copy / "rt_engine" / "kernels" / f"{kernel}.py"
    source = path.read_text(encoding="utf-8")
    for mutation in MUTATIONS[kernel]:
        path.write_text(source.replace(mutation.old, mutation.new), encoding="utf-8")
        forget_compiled(copy, kernel)
        wrong = run_tests(copy, kernel, compiled=compiled)
        path.write_text(source, encoding="utf-8")
        forget_compiled(copy, kernel)
        assert wrong.returncode == FAILED, f"{mutation}: {wrong.stdout}"
