"""Does telemetry delay light? One run of a virtual rig; MQTT, Prometheus and the log come and go, delays are compared.

    python tests/benchmarks/telemetry_ab.py prepare /tmp/ab
    python tests/benchmarks/telemetry_ab.py measure /tmp/ab --rounds 4

Rounds with and without alternate within the same run (A/B). What comes and goes is a telemetry service with all it can
do, beside the run's own, which does nothing; the broker stays. `prepare` makes the calibration.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import yaml
import zmq
from system_rig import ROOT, command, small_rig, spikeloop

from rt_engine.interfaces.messages import Phase, SpikesHeader, StimHeader, decode
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.services.embedded_broker import EmbeddedBroker
from rt_engine.services.setup import Setup
from rt_engine.services.telemetry import TelemetryService
from rt_engine.transport.free_ports import free_ports

PATIENCE_S = 120.0
PERCENTILES = (("p50", 50), ("p99", 99))


def prepare(folder: Path) -> None:
    """Rig, calibration, and a protocol that triggers as often as it may."""
    folder.mkdir(parents=True, exist_ok=True)
    rig = small_rig(microscope__pace="max")
    (folder / "rig.yaml").write_text(yaml.safe_dump(rig), encoding="utf-8")
    done = spikeloop("simulate", folder / "rig.yaml", "-o", folder / "movie.tif", "--duration", "60", "--seed", "1")
    done.check_returncode()
    spikeloop("calibrate", folder / "movie.tif", "-o", folder / "calibration.h5").check_returncode()
    rig["microscope"]["pace"] = "real_time"
    (folder / "rig.yaml").write_text(yaml.safe_dump(rig), encoding="utf-8")
    protocol = yaml.safe_load((ROOT / "protocols" / "library" / "spike_triggered.yaml").read_text(encoding="utf-8"))
    protocol["triggers"]["spike"]["refractory_ms"] = 120.0
    protocol["design"]["arms"] = {}
    (folder / "protocol.yaml").write_text(yaml.safe_dump(protocol, sort_keys=False), encoding="utf-8")


def serve(rig_file: Path, mqtt_port: int) -> None:
    """A telemetry service with everything, until it is ended."""
    rig = yaml.safe_load(rig_file.read_text(encoding="utf-8"))
    ports = free_ports(3)
    rig["ports"] |= {"telemetry": ports[0], "control": ports[1]}
    rig |= {"mqtt": {"port": mqtt_port, "accept": ["mark", "trial", "request"]}, "metrics": {"port": ports[2]}}
    now = {"t_wall_ns": time.time_ns(), "t_monotonic_ns": time.perf_counter_ns()}
    plain: dict[str, Any] = {"service": "telemetry", "rig": rig, "session": "ab", "folder": str(rig_file.parent)}
    TelemetryService(Setup(**plain, **now, dry_run=True, lossless=False, recorded=False)).run()


def delays_ms(socket: zmq.Socket[bytes], seconds: float) -> dict[str, list[float]]:
    """Intervals of some seconds."""
    found: dict[str, list[float]] = {"scan_to_receive": [], "receive_to_decision": [], "scan_to_command": []}
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if not socket.poll(200):
            continue
        topic, header_bytes, *_ = socket.recv_multipart()
        header = decode(topic.decode(), header_bytes)
        if isinstance(header, SpikesHeader):
            found["scan_to_receive"].append((header.t_received_ns - header.t_scan_ns) / 1e6)
            found["receive_to_decision"].append((header.t_decided_ns - header.t_received_ns) / 1e6)
        elif isinstance(header, StimHeader) and header.phase is Phase.DONE and header.t_command_ns is not None:
            found["scan_to_command"].append((header.t_command_ns - header.t_scan_ns) / 1e6)
    return found


def measure(folder: Path, n_rounds: int, seconds: float) -> dict[str, Any]:
    """Medians over the rounds, their ratios, and all rounds."""
    rig, (mqtt_port,) = load_rig(folder / "rig.yaml"), free_ports(1)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    for endpoint in (rig.ports.inference_endpoint(0), rig.ports.endpoint("stimulation")):
        socket.connect(endpoint)
    for topic in (b"spikes.0", b"stim"):
        socket.subscribe(topic)
    rounds: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    session = folder / f"session_{time.time_ns()}"
    line = ("run", folder / "rig.yaml", "--calibration", folder / "calibration.h5", "--output", session, "--no-gui")
    with EmbeddedBroker(mqtt_port), (folder / "log").open("w") as log:
        run = subprocess.Popen(command(*line, "--protocol", folder / "protocol.yaml"), stdout=log, stderr=log)
        try:
            end_s = time.monotonic() + PATIENCE_S
            while not delays_ms(socket, 1.0)["scan_to_command"] and time.monotonic() < end_s:
                pass
            for _ in range(n_rounds):
                rounds["without"].append(_figures(delays_ms(socket, seconds)))
                child = [sys.executable, __file__, "serve", str(folder), "--port", str(mqtt_port)]
                telemetry = subprocess.Popen(child, stdout=log, stderr=log)
                delays_ms(socket, 3.0)
                rounds["with"].append(_figures(delays_ms(socket, seconds)))
                telemetry.terminate()
                telemetry.wait()
                delays_ms(socket, 0.5)
        finally:
            run.terminate()
            run.wait()
    context.destroy(linger=0)
    medians = {kind: {key: median(one[key] for one in found) for key in found[0]} for kind, found in rounds.items()}
    ratios = {key: medians["with"][key] / medians["without"][key] for key in medians["with"]}
    return {"medians": medians, "with_over_without": ratios, "rounds": rounds}


def _figures(found: dict[str, list[float]]) -> dict[str, float]:
    out = {
        f"{name}_{p}_ms": float(np.percentile(values, q)) if values else float("nan")
        for name, values in found.items()
        for p, q in PERCENTILES
    }
    return out | {"commands": float(len(found["scan_to_command"]))}


def main() -> None:
    """Prepare, or run the rig and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("prepare", "measure", "serve"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--port", type=int)
    parser.add_argument("--json", metavar="F")
    arguments = parser.parse_args()
    if arguments.what == "prepare":
        prepare(arguments.folder)
    elif arguments.what == "serve":
        serve(arguments.folder / "rig.yaml", arguments.port)
    else:
        found = measure(arguments.folder, arguments.rounds, arguments.seconds)
        sys.stdout.write(json.dumps({key: found[key] for key in ("medians", "with_over_without")}, indent=1) + "\n")
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
