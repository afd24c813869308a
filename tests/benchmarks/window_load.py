"""Cost of the window at the size it is made for; a script, run by hand on a quiet machine.

    python tests/benchmarks/window_load.py --seconds 30

A process of its own publishes what a rig of 512 x 512 at 30 Hz with 1,000 cells would; the window shows the field and
twenty traces of 30 s. Told are: paintings of field and traces a second, share of one core, processor time a refresh,
time from a key to the picture that shows what it did, growth of resident memory; and how long a start takes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

import msgspec
import numpy as np
import psutil
import wire_samples as wire
import yaml
import zmq
from system_rig import PORTS

from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import RoiDescription
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.service_config import Ports
from rt_engine.interfaces.shipped import find_rig
from rt_engine.transport.free_ports import free_ports

SIDE_PX, N_ROIS = 512, 1000


def cells(n_rois: int, side_px: int = SIDE_PX) -> tuple[str, Any, bytes]:
    """Round cells on a grid."""
    per_row = int(np.ceil(np.sqrt(n_rois)))
    y, x = np.mgrid[-6:7, -6:7]
    disc = (y**2 + x**2) <= 36
    pitch = side_px // per_row
    pixels, start, rois = [], [0], []
    for row in range(n_rois):
        cy, cx = pitch // 2 + pitch * (row // per_row), pitch // 2 + pitch * (row % per_row)
        inside = disc & (y + cy >= 0) & (y + cy < side_px) & (x + cx >= 0) & (x + cx < side_px)
        flat = ((y + cy) * side_px + x + cx)[inside]
        pixels.append(flat)
        start.append(start[-1] + len(flat))
        rois.append(
            RoiDescription(
                roi_id=row, roi_index=row, parent_id=None, kind="soma", plane=0, tags=[], quality=1.0, snr=5.0,
                tau_s=0.5, amplitude=0.3, expected_detection=0.8, threshold=4.0,
            )
        )  # fmt: skip
    topic, header, _ = wire.rois(1, rois=rois, footprint_start=start, lines_per_frame=side_px, pixels_per_line=side_px)
    return topic, header, np.concatenate(pixels).astype("<u4").tobytes()


def publish(
    ports: dict[str, int], rate_hz: float, seconds: float, side_px: int = SIDE_PX, n_rois: int = N_ROIS
) -> None:
    """What a rig would send; times are those of this computer's clock."""
    context = zmq.Context()
    sockets = {}
    for name in ("acquisition", "inference", "stimulation", "supervisor"):
        sockets[name] = context.socket(zmq.PUB)
        sockets[name].setsockopt(zmq.SNDHWM, 64)
        sockets[name].bind(f"tcp://127.0.0.1:{ports[name]}")
    rng = np.random.default_rng(0)
    images = [rng.poisson(300, (side_px, side_px)).astype("<u2") for _ in range(8)]
    values = [rng.normal(0, 0.1, (8, n_rois)).astype("<f4") for _ in range(64)]
    footprints = cells(n_rois, side_px)

    def send(port: str, message: tuple[str, Any, bytes], **changes: Any) -> None:
        topic, header, payload = message
        fields = msgspec.structs.replace(header, **changes)
        sockets[port].send_multipart([topic.encode(), msgspec.msgpack.encode(fields), payload])

    begin_s, number = time.perf_counter(), 0
    while time.perf_counter() - begin_s < seconds:
        t_ns = time.perf_counter_ns()
        send("acquisition", wire.frame(number, images[number % 8]), t_scan_ns=t_ns)
        events = np.zeros(rng.poisson(n_rois * 0.2 / rate_hz), EVENT_DTYPE)
        events["roi_id"], events["t_event_ns"] = rng.integers(0, n_rois, len(events)), t_ns
        send("inference", wire.spikes(number, events), t_scan_ns=t_ns, t_received_ns=t_ns + 1, t_decided_ns=t_ns + 2)
        send("inference", wire.activity(number, values[number % 64]), t_scan_ns=t_ns)
        if number % max(1, int(rate_hz)) == 0:
            send("inference", footprints)
            send("supervisor", wire.session())
            send("stimulation", wire.state())
            send("stimulation", wire.stim(str(number)), t_scan_ns=t_ns, t_decided_ns=t_ns, t_command_ns=t_ns)
            for name in sockets:
                send(name, wire.health(name))
                send(name, wire.log(f"second {number / rate_hz:.0f} of {name}"))
        number += 1
        time.sleep(max(0.0, begin_s + number / rate_hz - time.perf_counter()))
    context.destroy(linger=0)


def measure(rate_hz: float, seconds: float) -> dict[str, Any]:
    """Figures of one window."""
    from pyqtgraph.Qt import QtCore, QtWidgets

    from gui.endpoints import Endpoints
    from gui.launch import build
    from gui.settings import Settings

    ports = Ports(**dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    source = multiprocessing.get_context("spawn").Process(
        target=publish, args=(ports.model_dump(), rate_hz, seconds + 60), daemon=True
    )
    source.start()
    app = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    app.setStyle("Fusion")
    parts = build(Endpoints("127.0.0.1", ports), Settings(None))
    window, process = parts.window, psutil.Process()
    window.resize(1280, 720)
    window.show()

    def work(for_s: float) -> None:
        loop = QtCore.QEventLoop()
        QtCore.QTimer.singleShot(round(1000 * for_s), loop.quit)
        loop.exec()

    while window.field.picture.size_px != (SIDE_PX, SIDE_PX):
        work(0.01)
    while 0 not in window.desk.live.cells:
        work(0.05)
    window.desk.select(list(range(20)))
    work(32)
    painted = [paint_count(plot) for plot in (window.field.plot, window.traces.plot)]
    before, turns, begin_s, rss = (
        process.cpu_times(),
        window.pacer.n_turns,
        time.perf_counter(),
        process.memory_info().rss,
    )
    work(seconds)
    after, elapsed_s = process.cpu_times(), time.perf_counter() - begin_s
    used_s = after.user + after.system - before.user - before.system
    delays = [key_to_paint_s(window, app) for _ in range(20)]
    figures: dict[str, Any] = {
        "frame_rate_hz": rate_hz,
        "refreshes_per_s": (window.pacer.n_turns - turns) / elapsed_s,
        "field_paints_per_s": painted[0]() / elapsed_s,
        "traces_paints_per_s": painted[1]() / elapsed_s,
        "core_share": used_s / elapsed_s,
        "cpu_ms_per_refresh": 1000 * used_s / (window.pacer.n_turns - turns),
        "key_to_paint_ms_median": 1000 * statistics.median(delays),
        "key_to_paint_ms_max": 1000 * max(delays),
        "rss_growth_mb": (process.memory_info().rss - rss) / 1e6,
    }
    parts.close()
    source.kill()
    source.join()
    return figures


def start(n: int) -> list[float]:
    """Seconds from the start of `spikeloop gui` to its first picture of a rig that runs already; a process each."""
    ports = Ports(**dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    source = multiprocessing.get_context("spawn").Process(
        target=publish, args=(ports.model_dump(), 30.0, 600.0), daemon=True
    )
    source.start()
    with tempfile.TemporaryDirectory() as folder:
        rig_file = Path(folder) / "rig.yaml"
        rig = load_rig(find_rig("virtual_rig")).model_copy(update={"ports": ports})
        rig_file.write_text(yaml.safe_dump(rig.model_dump(mode="json")), encoding="utf-8")
        time.sleep(5)
        line = [sys.executable, __file__, "--probe", str(rig_file)]
        took_s = [float(subprocess.run(line, capture_output=True, text=True, check=True).stdout) for _ in range(n)]
    source.kill()
    source.join()
    return took_s


def probe(rig_file: str) -> None:
    """`spikeloop gui`, which ends once it has painted a picture and tells the age of its process."""
    from gui import launch
    from rt_engine.cli import main as spikeloop

    show = launch._show

    def show_and_look(parts: Any, review: Any) -> None:
        from pyqtgraph.Qt import QtCore, QtWidgets

        show(parts, review)
        timer = QtCore.QTimer(parts.window)

        def look() -> None:
            if parts.window.field.picture.size_px == (SIDE_PX, SIDE_PX):
                parts.window.repaint()
                sys.stdout.write(f"{time.time() - psutil.Process().create_time():.2f}")
                timer.stop()
                QtWidgets.QApplication.instance().quit()

        timer.timeout.connect(look)
        timer.start(5)

    launch._show = show_and_look
    spikeloop(["gui", "--rig", rig_file, "--settings", str(Path(rig_file).with_suffix(".json"))])


def paint_count(plot: Any) -> Callable[[], int]:
    """How often a plot has been painted since, up to the first time it is asked."""
    from pyqtgraph.Qt import QtCore

    n = [0]

    class Counter(QtCore.QObject):
        """Sees the events of the plot's surface."""

        def eventFilter(self, watched: Any, event: Any) -> bool:
            """Count."""
            n[0] += event.type() == QtCore.QEvent.Type.Paint
            return False

    counter = Counter(plot)
    plot.viewport().installEventFilter(counter)

    def told() -> int:
        plot.viewport().removeEventFilter(counter)
        return n[0]

    return told


def key_to_paint_s(window: Any, app: Any) -> float:
    """From a key in the queue of events (outlines off, or on) to the end of the painting that shows it."""
    from pyqtgraph.Qt import QtCore, QtGui

    picture = window.field.picture
    before = picture.has_outlines
    key = QtGui.QKeyEvent(QtCore.QEvent.Type.KeyPress, QtCore.Qt.Key.Key_O, QtCore.Qt.KeyboardModifier.NoModifier, "o")
    begin_s = time.perf_counter()
    app.postEvent(window, key)
    while picture.has_outlines == before:
        app.processEvents(QtCore.QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
    return time.perf_counter() - begin_s


def main() -> None:
    """Measure at both rates, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rates-hz", type=float, nargs="*", default=[30.0, 200.0])
    parser.add_argument("--starts", type=int, default=5, help="how often the window is started for the first picture")
    parser.add_argument("--probe", metavar="RIG", help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="F")
    arguments = parser.parse_args()
    if arguments.probe:
        probe(arguments.probe)
        return
    figures = [measure(rate_hz, arguments.seconds) for rate_hz in arguments.rates_hz]
    figures.append({"start_to_first_picture_s": start(arguments.starts)})
    text = json.dumps(figures, indent=1)
    sys.stdout.write(text + "\n")
    if arguments.json:
        Path(arguments.json).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
