"""What the documentation says is so: commands parse, links lead somewhere, and named files exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from rt_engine.cli import build_parser
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.shipped import find_rig

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _commands(page: Path) -> list[str]:
    """Lines of code blocks, and code in tables, that are spikeloop commands with all their arguments."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in re.split(r"&&|;", line)]
    return [part for part in parts if part.startswith("spikeloop ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_documented_command_is_one_the_command_line_takes(page: Path) -> None:
    for line in _commands(page):
        arguments = shlex.split(line)[1:]
        parsed = build_parser().parse_args(arguments)
        assert parsed.command == arguments[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_rig_file_of_the_page_on_drivers_of_other_packages_is_one_that_is_taken() -> None:
    page = (ROOT / "docs" / "how-to" / "add-a-driver.md").read_text(encoding="utf-8")
    described = {}
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        described |= yaml.safe_load(block)
    assert set(described) == {"outputs", "microscope", "inputs"}
    whole = yaml.safe_load(find_rig("virtual_rig").read_text(encoding="utf-8"))
    (limits,) = [output["limits"] for output in whole["outputs"].values()]
    for output in described["outputs"].values():
        assert output["limits"] == {}, "the page leaves them out"
        output["limits"] = limits
    rig = RigConfig.model_validate(whole | described)
    points = re.findall(r'spikeloop\.(\w+)"\]\n(\w+) = ', page)
    assert points == [("outputs", "lamp"), ("microscopes", "scope"), ("inputs", "pedal")]
    named = [rig.outputs["led"], rig.microscope, rig.inputs["pedal"]]
    assert [(one.driver, one.name) for one in named] == [("plugin", name) for _, name in points]


def test_the_documentation_has_commands_to_check() -> None:
    assert sum(len(_commands(page)) for page in PAGES) >= 10
