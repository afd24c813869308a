"""An engine compiled for another kind of processor gives the same bytes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "engine_bytes.py"
OTHERS = {
    "x86_64": ["generic", "nehalem"],
    "aarch64": ["generic", "cortex-a53"],
}
"""Kinds that a processor of a family can do the work of: 128-bit vectors, and on x86 no product fused with a sum."""


def _bytes(folder: Path, cpu_name: str | None) -> dict[str, str]:
    cache = folder / f"kernels-{cpu_name}"
    other = {} if cpu_name is None else {"NUMBA_CPU_NAME": cpu_name, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "run", str(folder)],
        env=os.environ | other,
        capture_output=True,
        text=True,
        check=True,
    )
    assert cpu_name is None or any(cache.rglob("*.nbc"))
    told: dict[str, str] = json.loads(done.stdout)
    return told


@pytest.mark.statistics
@pytest.mark.timeout(1800)
def test_every_output_has_the_same_bytes(tmp_path: Path) -> None:
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    subprocess.run([sys.executable, str(SCRIPT), "make", str(tmp_path)], check=True)
    here = _bytes(tmp_path, None)
    assert all(int(n) > 10 for name, n in here.items() if name.endswith("number of events"))
    for cpu_name in OTHERS[machine]:
        there = _bytes(tmp_path, cpu_name)
        assert [name for name in here if there[name] != here[name]] == [], cpu_name
