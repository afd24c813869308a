"""What is made wrong on purpose is a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("rt_engine", "drivers", "protocols", "gui", "tests", "docs", "hardware_configs", "pyproject.toml")


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, somewhere else."""
    folder = tmp_path_factory.mktemp("mutants")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("*.nbi", "*.nbc"))
        else:
            shutil.copy2(source, folder / name)
    return folder
