"""What a second plane costs: the same virtual volume with one and with two planes inferred, in real time.

Run it on an idle machine: ``python tests/planes_cost.py [CALIBRATION]`` prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml
from system_rig import ROOT, RunningRig, command, start_run, summary_of

from rt_engine.transport.free_ports import free_port_block

DURATION_S = 30.0
MEASURED_S = 20.0


def main() -> None:
    """Calibrate once, then run with plane 0 alone and with both."""
    rig: dict[str, Any] = yaml.safe_load(
        (ROOT / "hardware_configs" / "virtual_volume.yaml").read_text(encoding="utf-8")
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        calibrations = Path(sys.argv[1]) if len(sys.argv) > 1 else _calibrate(rig, folder)
        found = {}
        for planes in ((0,), (0, 1)):
            rig |= {"planes": list(planes), "ports": {"inference": free_port_block(2)}}
            name = f"planes_{len(planes)}"
            run = start_run(
                folder, rig, "--calibration", calibrations, "--duration", str(DURATION_S), "--no-gui",
                name=name, file_size_limit=None,
            )  # fmt: skip
            cpu = _cpu_percent(run)
            if run.wait() != 0:
                raise SystemExit(run.output())
            found[name] = _figures(run, cpu)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


def _calibrate(rig: dict[str, Any], folder: Path) -> Path:
    path, movie, target = folder / "volume.yaml", folder / "volume.tif", folder / "volume.h5"
    path.write_text(yaml.safe_dump(rig), encoding="utf-8")
    for line in (
        command("simulate", path, "-o", movie, "--duration", "60", "--seed", "1"),
        command("calibrate", movie, "-o", target),
    ):
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    return target


def _cpu_percent(run: RunningRig) -> dict[str, float]:
    """Share of a core that every service took over `MEASURED_S` while live."""
    pids = run.live()["pids"]
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    for process in processes.values():
        process.cpu_percent()
    time.sleep(MEASURED_S)
    return {name: process.cpu_percent() for name, process in processes.items()}


def _figures(run: RunningRig, cpu: dict[str, float]) -> dict[str, Any]:
    summary = summary_of(run.session)
    keep = ("frames", "frames_lost", "spikes", "recall", "precision", "recall_all", "precision_all")
    latency = {
        name: {key: round(values[key], 2) for key in ("p50", "p99", "max")}
        for name, values in summary["latency_ms"].items()
        if values
    }
    return {name: summary[name] for name in keep} | {"cpu_percent": cpu, "latency_ms": latency}


if __name__ == "__main__":
    main()
