"""Does the window's memory stay flat? An hour of a rig that runs, while pages, cells, looks and sizes change.

    python tests/benchmarks/window_memory.py --minutes 60 --json window-memory.json

A small rig (128 x 128 at 30 Hz, 100 cells), so that it may run beside other work. Every minute the resident memory of
the window is noted; told are all of them, and the slope of a straight line through the second half.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

import numpy as np
import psutil
from system_rig import PORTS
from window_load import publish

from rt_engine.interfaces.service_config import Ports
from rt_engine.transport.free_ports import free_ports

SIDE_PX, N_ROIS, RATE_HZ = 128, 100, 30.0
PAGE_S, NOTE_S = 3.0, 60.0


def main() -> None:
    """Run, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", metavar="F")
    arguments = parser.parse_args()
    from pyqtgraph.Qt import QtCore, QtWidgets

    from gui.endpoints import Endpoints
    from gui.launch import build
    from gui.settings import Settings

    ports = Ports(**dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    seconds = 60 * arguments.minutes
    source = multiprocessing.get_context("spawn").Process(
        target=publish, args=(ports.model_dump(), RATE_HZ, seconds + 60, SIDE_PX, N_ROIS), daemon=True
    )
    source.start()
    app = QtWidgets.QApplication([])
    app.setStyle("Fusion")
    parts = build(Endpoints("127.0.0.1", ports), Settings(None))
    window, process, rng = parts.window, psutil.Process(), np.random.default_rng(1)
    window.resize(1280, 720)
    window.show()
    noted_mb: list[float] = []
    begin_s, n_steps = time.monotonic(), 0

    def step() -> None:
        """Do what a person does in a day."""
        nonlocal n_steps
        n_steps += 1
        window.show_page(n_steps % len(window.pages))
        window.desk.select([int(one) for one in rng.choice(N_ROIS, 20, replace=False)])
        if n_steps % 20 == 0:
            window.toggle_theme()
        if n_steps % 50 == 0:
            window.toggle_large()
            window.show_keys()
        elif n_steps % 50 == 1:
            window.overlay.take_away()
            window.resize(1200 + 80 * (n_steps % 3), 720)
        elapsed_s = time.monotonic() - begin_s
        if elapsed_s > NOTE_S * (len(noted_mb) + 1):
            noted_mb.append(process.memory_info().rss / 1e6)
        if elapsed_s > seconds:
            app.quit()

    timer = QtCore.QTimer()
    timer.timeout.connect(step)
    timer.start(round(1000 * PAGE_S))
    app.exec()
    used = process.cpu_times()
    parts.close()
    source.kill()
    source.join()
    half = np.array(noted_mb[len(noted_mb) // 2 :])
    slope = float(np.polyfit(np.arange(len(half)) / 60, half, 1)[0]) if len(half) > 1 else float("nan")
    figures = {
        "rss_mb_each_minute": [round(one, 1) for one in noted_mb],
        "slope_second_half_mb_per_h": slope,
        "turns": window.pacer.n_turns,
        "core_share": (used.user + used.system) / seconds,
    }
    text = json.dumps(figures)
    sys.stdout.write(text + "\n")
    if arguments.json:
        Path(arguments.json).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
