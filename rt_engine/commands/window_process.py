"""The window beside a run: a process of its own, which the run neither waits for nor misses."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

_INSTALL = "it needs the extra `gui`: pip install 'spikeloop[gui]'"


def why_no_window() -> str:
    """What is missing for a window; empty if nothing is."""
    if importlib.util.find_spec("pyqtgraph") is None:
        return _INSTALL
    if not any(importlib.util.find_spec(name) for name in ("PyQt6", "PySide6", "PyQt5", "PySide2")):
        return _INSTALL
    return ""


def has_display() -> bool:
    """True if somebody could see a window."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def start_window(rig: str, log: Path) -> str:
    """Start the window of a rig; returns a line for people, empty where there is simply no display.

    Parameters
    ----------
    rig : str
        Rig file or name, for its ports.
    log : Path
        File for what the window says; it never writes between the lines of the run.

    Returns
    -------
    str
        What was done, or why there is no window.
    """
    if not has_display():
        return ""
    reason = why_no_window()
    if reason:
        return f"no window: {reason}"
    line = [sys.executable, "-m", "rt_engine", "gui", "--rig", rig, "--only-one"]
    try:
        with log.open("ab") as stream:
            process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=sys.platform != "win32",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
    except OSError as error:
        return f"no window: {error.strerror or error}"
    # Nobody waits for the window, but a closed one must not stay behind as a zombie.
    threading.Thread(target=process.wait, name="spikeloop-window-end", daemon=True).start()
    return "the window opens beside the run; closing it changes nothing"
