"""An engine on another kind of processor gives the same bytes, and holds the same."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "engine_bytes.py"
MACHINE = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
OLD_CPU = {"x86_64": "nehalem", "aarch64": "cortex-a53"}
OLD_BLAS = {"x86_64": "Nehalem", "aarch64": "ARMV8"}


def _old_libraries() -> dict[str, str]:
    """Variables by which numpy, OpenBLAS and the mathematical library take the code for an old processor."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    old = {"NPY_DISABLE_CPU_FEATURES": " ".join(found), "OPENBLAS_CORETYPE": OLD_BLAS[MACHINE]}
    if MACHINE == "x86_64":
        old["GLIBC_TUNABLES"] = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4"
    return old


def _bytes(folder: Path, other: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "run", str(folder)],
        env=os.environ | other,
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, str] = json.loads(done.stdout)
    return told


@pytest.mark.statistics
@pytest.mark.timeout(1800)
def test_every_output_has_the_same_bytes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(SCRIPT), "make", str(tmp_path)], check=True)
    here = _bytes(tmp_path, {})
    assert all(int(n) > 10 for name, n in here.items() if name.endswith("number of events"))
    others = {"generic": {}, OLD_CPU[MACHINE]: _old_libraries()}
    for cpu_name, libraries in others.items():
        cache = tmp_path / cpu_name
        there = _bytes(tmp_path, libraries | {"NUMBA_CPU_NAME": cpu_name, "NUMBA_CACHE_DIR": str(cache)})
        assert any(cache.rglob("*.nbc"))
        assert [name for name in here if there[name] != here[name]] == [], cpu_name
