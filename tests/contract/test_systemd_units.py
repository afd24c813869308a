"""The units that are given away call the command as it is, stop it as it wants to be stopped, and restart no run."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from rt_engine.cli import build_parser

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
UNITS = {"spikeloop@.service": ("run", "no"), "spikeloop-serve@.service": ("serve", "on-failure")}
"""File -> its command, and whether systemd starts it again: nobody's light comes back without a person."""


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((HOW_TO / name).read_text(encoding="utf-8"))
    return parser


def test_every_unit_is_tested() -> None:
    assert {path.name for path in HOW_TO.glob("*.service")} == set(UNITS)


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_calls_the_command_as_it_is(name: str) -> None:
    program, *words = unit(name)["Service"]["ExecStart"].split()
    assert Path(program).name == "spikeloop"
    parsed = build_parser().parse_args([word.replace("%i", "inference") for word in words])
    assert parsed.command == UNITS[name][0]
    if parsed.command == "serve":
        assert parsed.service == "inference"
        assert not parsed.once, "it serves run after run"
    else:
        assert parsed.no_gui


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_ends_in_order_and_restarts_no_run(name: str) -> None:
    service = unit(name)["Service"]
    assert service["KillSignal"] == "SIGINT", "as Ctrl-C: a normal end"
    assert service["KillMode"] == "mixed", "to the supervisor alone, which stops the others in order"
    assert service["Restart"] == UNITS[name][1]
    assert service["UMask"] == "0077"
    assert service["User"] != "root"


@pytest.mark.parametrize("name", UNITS)
def test_systemd_itself_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (Debian package systemd)")
    program = shutil.which("true")
    text = (HOW_TO / name).read_text(encoding="utf-8").replace("/opt/spikeloop/venv/bin/spikeloop", str(program))
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / name)], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if name in line] == []
