"""Who only looks: a subscriber of everything, and the window itself. What do they cost the others?"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
import zmq

from rt_engine.interfaces.errors import ServiceError
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.transport.sockets import await_parts


def watch(endpoints: list[str]) -> None:
    """Receive all topics of all endpoints, throw them away, until killed.

    Parameters
    ----------
    endpoints : list of str
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    subscriber = context.socket(zmq.SUB)
    for endpoint in endpoints:
        subscriber.connect(endpoint)
    subscriber.subscribe(b"")
    while True:
        await_parts(subscriber)


def window_can_run() -> bool:
    """True if the extra `gui` is installed; a screen is not needed."""
    return all(importlib.util.find_spec(name) is not None for name in ("pyqtgraph", "PyQt6"))


@contextlib.contextmanager
def window(rig: RigConfig, folder: Path) -> Iterator[None]:
    """The window of a rig, as `spikeloop gui` shows it, drawn without a screen.

    Parameters
    ----------
    rig : RigConfig
    folder : Path
        For its rig file, its settings and what it says.

    Raises
    ------
    ServiceError
        It has ended by itself.
    """
    rig_file = folder / "window-rig.yaml"
    rig_file.write_text(yaml.safe_dump(rig.model_dump(mode="json")), encoding="utf-8")
    line = [sys.executable, "-m", "rt_engine", "gui", "--rig", str(rig_file), "--settings", str(folder / "window.json")]
    with (folder / "window.log").open("wb") as log:
        process = subprocess.Popen(line, env=os.environ | {"QT_QPA_PLATFORM": "offscreen"}, stdout=log, stderr=log)
        try:
            yield
            if process.poll() is not None:
                said = (folder / "window.log").read_text(encoding="utf-8", errors="replace")[-500:]
                raise ServiceError(f"the window has ended with {process.returncode}: {said}", "nothing was compared")
        finally:
            process.kill()
            process.wait()
