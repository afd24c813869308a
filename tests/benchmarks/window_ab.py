"""Does a window delay the loop? One run of the virtual rig; the window comes and goes, and the delays are compared.

    python tests/benchmarks/window_ab.py --rounds 4

Rounds with and without a window alternate within the same run (A/B); the window is a process of its own that draws
without a screen. Told are medians over the rounds, and their ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import zmq
from system_rig import command

from rt_engine.interfaces.messages import Mode, SpikesHeader, decode
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.shipped import find_rig

PATIENCE_S = 300.0


def delays_ms(socket: zmq.Socket[bytes], seconds: float) -> np.ndarray:
    """scan_to_receive and receive_to_decision of the live frames of some seconds, shape (n, 2)."""
    found, end_s = [], time.monotonic() + seconds
    while time.monotonic() < end_s:
        if not socket.poll(200):
            continue
        topic, header_bytes, *_ = socket.recv_multipart()
        header = decode(topic.decode(), header_bytes)
        if isinstance(header, SpikesHeader) and header.mode is Mode.LIVE:
            found.append((header.t_received_ns - header.t_scan_ns, header.t_decided_ns - header.t_received_ns))
    return np.array(found, np.float64).reshape(-1, 2) / 1e6


def figures(values: np.ndarray) -> dict[str, float]:
    """p50 and p99 of both intervals, and frames seen."""
    names = ("scan_to_receive", "receive_to_decision")
    out = {
        f"{name}_{p}_ms": float(np.percentile(values[:, i], q)) for i, name in enumerate(names) for p, q in PERCENTILES
    }
    return out | {"frames": float(len(values))}


PERCENTILES = (("p50", 50), ("p99", 99))


def main() -> None:
    """Run the rig, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rig", default="virtual_rig")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--json", metavar="F")
    arguments = parser.parse_args()
    ports = load_rig(find_rig(arguments.rig)).ports
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.connect(ports.inference_endpoint(0))
    socket.subscribe(b"spikes.0")
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    rounds: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as scratch:
        line = ("run", arguments.rig, "--no-gui", "--baseline", "20", "--output", Path(scratch) / "session")
        with (Path(scratch) / "log").open("w") as log:
            run = subprocess.Popen(command(*line), stdout=log, stderr=log)
            try:
                end_s = time.monotonic() + PATIENCE_S
                while not len(delays_ms(socket, 1.0)) and time.monotonic() < end_s:
                    pass
                delays_ms(socket, 5.0)
                for _ in range(arguments.rounds):
                    rounds["without"].append(figures(delays_ms(socket, arguments.seconds)))
                    gui = ("gui", "--rig", arguments.rig, "--settings", Path(scratch) / "window.json")
                    window = subprocess.Popen(command(*gui), env=environment, stdout=log, stderr=log)
                    delays_ms(socket, 4.0)
                    rounds["with"].append(figures(delays_ms(socket, arguments.seconds)))
                    window.terminate()
                    window.wait()
                    delays_ms(socket, 1.0)
            finally:
                run.terminate()
                run.wait()
    context.destroy(linger=0)
    medians = {kind: {key: median(one[key] for one in found) for key in found[0]} for kind, found in rounds.items()}
    ratios = {key: medians["with"][key] / medians["without"][key] for key in medians["with"]}
    text = json.dumps({"medians": medians, "with_over_without": ratios, "rounds": rounds}, indent=1)
    sys.stdout.write(json.dumps({"medians": medians, "with_over_without": ratios}, indent=1) + "\n")
    if arguments.json:
        Path(arguments.json).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
