"""What the runners of three systems are told is what the project and its own check know."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def _jobs() -> dict[str, Any]:
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return jobs


def _commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_every_system_and_the_oldest_python_are_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    matrix = _jobs()["tests"]["strategy"]["matrix"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "windows", "macos"}
    assert matrix["python"][0] == project["requires-python"].removeprefix(">=")


def test_what_is_installed_is_what_the_project_offers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for job in _jobs().values():
        extras = [one for command in _commands(job) for one in re.findall(r"\.\[([\w,]+)\]", command)]
        assert extras
        assert {name for one in extras for name in one.split(",")} <= set(project["optional-dependencies"])


def test_the_linters_of_the_projects_own_check_are_run_too() -> None:
    own = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    linters = [line for line in own if line.split(" ")[0] in ("ruff", "mypy", "lint-imports")]
    assert len(linters) == 4
    assert [one for one in _commands(_jobs()["linters"]) if one in linters] == linters


def test_scripts_that_runners_start_are_there() -> None:
    for job in _jobs().values():
        for command in _commands(job):
            for script in re.findall(r"\.ci/\w+", command):
                assert (ROOT / script).is_file()
