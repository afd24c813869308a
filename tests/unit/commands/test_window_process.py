"""A run opens a window where one can be seen, says in a line why not, and is never held up by it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rt_engine.commands import window_process
from rt_engine.commands.window_process import has_display, start_window, why_no_window


class _Ended:
    """A process that has ended at once."""

    def __init__(self, lines: list[list[str]], line: list[str]) -> None:
        lines.append(line)

    def wait(self) -> int:
        return 0


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines that would have been started."""
    lines: list[list[str]] = []
    monkeypatch.setattr(window_process.subprocess, "Popen", lambda line, **how: _Ended(lines, line))
    monkeypatch.setattr(sys, "platform", "linux")
    for screen in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(screen, raising=False)
    return lines


def test_without_a_display_nothing_is_started_and_nothing_said(started: list[list[str]], tmp_path: Path) -> None:
    assert start_window("virtual_rig", tmp_path / "log") == ""
    assert started == []


def test_with_a_display_the_window_of_this_rig_is_started(
    started: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert "window" in start_window("my_rig.yaml", tmp_path / "log")
    assert [line[2:] for line in started] == [["rt_engine", "gui", "--rig", "my_rig.yaml", "--only-one"]]


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_these_systems_always_have_a_display(
    started: list[list[str]], platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert has_display()


def test_a_missing_extra_is_one_clear_line(
    started: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyqtgraph" else real(name))
    said = start_window("virtual_rig", tmp_path / "log")
    assert "pip install 'spikeloop[gui]'" in said
    assert "\n" not in said
    assert started == []
    assert why_no_window()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there always is a display")
def test_the_command_without_a_display_is_one_clear_line_and_exit_code_2() -> None:
    environment: dict[str, Any] = {"PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    done = subprocess.run(
        [sys.executable, "-m", "rt_engine", "gui"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert "no display" in done.stderr
    assert done.stderr.count("\n") == 1
