"""Does recording 200 MB/s of frames delay light? One run; the load comes and goes, delays and the disk are compared.

    python tests/benchmarks/recording_ab.py prepare /tmp/ab
    python tests/benchmarks/recording_ab.py measure /tmp/ab --rounds 3

A program outside streams 512 x 512 frames of the virtual rig at 30 Hz, which are inferred and recorded. Five kinds of
rounds alternate within the run: `idle`, nothing else; `sink`, 400 more frames a second go to a program that throws them
away, which is what making and sending them costs the computer; `recorder`, they go straight to the recorder, as from
another camera of the rig; `nice`, the same with the recorder at nice 5; `microscope`, they come with the others as a
second channel, through acquisition. `disk` is what the journal grew by. `--scheduling` sets that key of the rig for the
services of the loop, and the program of the microscope gets the same. Needs 2.5 GB a round on the disk of the folder;
the session is deleted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from pathlib import Path
from socket import gethostname
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import psutil
import tifffile
import yaml
import zmq
from system_rig import ROOT, command, small_rig, spikeloop
from telemetry_ab import delays_ms

from rt_engine.interfaces.messages import FrameHeader, HealthHeader, decode, encode
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.service_config import SchedulingConfig
from rt_engine.services.scheduling import apply_scheduling
from rt_engine.transport.free_ports import free_ports

RATE_HZ = 30.0
PATIENCE_S = 120.0
NICE = 5
SCHEDULING: dict[str, dict[str, Any]] = {
    "usual": {},
    "high_priority": {"high_priority": True},
    "realtime_priority": {"realtime_priority": 50},
}
KINDS = ("idle", "sink", "recorder", "microscope", "nice")


def prepare(folder: Path) -> None:
    """Movie, calibration, a rig that takes a stream, and a protocol that triggers as often as it may."""
    folder.mkdir(parents=True, exist_ok=True)
    virtual = small_rig()
    virtual["microscope"] |= {"n_lines": 512, "pixels_per_line": 512}
    virtual["microscope"]["sample"]["n_cells"] = 200
    path = folder / "virtual.yaml"
    path.write_text(yaml.safe_dump(virtual), encoding="utf-8")
    spikeloop("simulate", path, "-o", folder / "movie.tif", "--duration", "20", "--seed", "1").check_returncode()
    spikeloop("calibrate", folder / "movie.tif", "-o", folder / "calibration.h5").check_returncode()
    (source,) = free_ports(1)
    stream = virtual | {"microscope": {"driver": "stream", "endpoint": f"tcp://127.0.0.1:{source}", "um_per_px": 0.8}}
    stream["recording"] = {"frames": "all", "min_free_mb": 2000.0}
    (folder / "rig.yaml").write_text(yaml.safe_dump(stream), encoding="utf-8")
    protocol = yaml.safe_load((ROOT / "protocols" / "library" / "spike_triggered.yaml").read_text(encoding="utf-8"))
    protocol["triggers"]["spike"]["refractory_ms"] = 120.0
    protocol["design"]["arms"] = {}
    (folder / "protocol.yaml").write_text(yaml.safe_dump(protocol, sort_keys=False), encoding="utf-8")


def header(source: str, channel: int, plane: int, number: int, rate_hz: float) -> bytes:
    """Of a whole frame that is there now."""
    now_ns = time.perf_counter_ns()
    return encode(
        FrameHeader(
            source=source, host=gethostname(), boot_id="ab", seq=number, t_sent_ns=now_ns,
            plane=plane, channel=channel, frame=number, volume=None, line0=0, n_lines=512, lines_per_frame=512,
            pixels_per_line=512, dtype="u2", adc_max=None, offset=None, frame_period_ns=round(1e9 / rate_hz),
            line_period_ns=None, t_scan_ns=now_ns, t_scan_uncertainty_ns=0, t_device_s=None, flags=0,
        )
    )  # fmt: skip


def stream(folder: Path, endpoint: str, load_hz: Any, scheduling: SchedulingConfig) -> None:
    """The program outside: the movie forth and back at 30 Hz, and between its frames those of a second channel."""
    for refused in apply_scheduling(scheduling, "acquisition"):
        raise RuntimeError(refused)
    movie = tifffile.imread(folder / "movie.tif").astype("<u2")
    order = [*range(len(movie)), *range(len(movie) - 2, 0, -1)]
    socket = zmq.Context().socket(zmq.PUB)
    socket.setsockopt(zmq.SNDHWM, 2000)
    socket.bind(endpoint)
    n = n_load = 0
    due_s = load_due_s = time.perf_counter()
    while True:
        now_s, rate_hz = time.perf_counter(), load_hz.value
        if now_s >= due_s:
            socket.send_multipart([b"frame.0.0", header("outside", 0, 0, n, RATE_HZ), movie[order[n % len(order)]]])
            n, due_s = n + 1, due_s + 1 / RATE_HZ
        elif rate_hz and now_s >= load_due_s:
            parts = [b"frame.0.1", header("outside", 1, 0, n_load, rate_hz), movie[n_load % len(movie)]]
            socket.send_multipart(parts)
            n_load, load_due_s = n_load + 1, max(load_due_s + 1 / rate_hz, now_s - 0.05)
        else:
            soonest_s = min(due_s, load_due_s) if rate_hz else due_s
            time.sleep(max(0.0, min(soonest_s - now_s, 0.02)))


def push(folder: Path, endpoint: str, load_hz: Any, n_refused: Any) -> None:
    """Another camera of the rig: frames straight to the recorder; what does not fit its queue is counted."""
    frame = tifffile.imread(folder / "movie.tif", key=0).astype("<u2")
    socket = zmq.Context().socket(zmq.PUSH)
    socket.setsockopt(zmq.SNDHWM, 256)
    socket.connect(endpoint)
    n, due_s = 0, time.perf_counter()
    while True:
        now_s, rate_hz = time.perf_counter(), load_hz.value
        if not rate_hz or now_s < due_s:
            time.sleep(0.02 if not rate_hz else max(0.0, due_s - now_s))
            due_s = max(due_s, now_s - 0.05)
            continue
        try:
            socket.send_multipart([b"frame.1.0", header("second", 0, 1, n, rate_hz), frame], zmq.NOBLOCK)
        except zmq.Again:
            n_refused.value += 1
        n, due_s = n + 1, due_s + 1 / rate_hz


def throw_away(endpoint: str) -> None:
    """In the place of the recorder."""
    socket = zmq.Context().socket(zmq.PULL)
    socket.setsockopt(zmq.RCVHWM, 256)
    socket.bind(endpoint)
    while True:
        socket.recv_multipart(copy=False)


def size_mb(session: Path) -> float:
    """Of the journal."""
    return sum(path.stat().st_size for path in session.glob("session_*.mcap")) / 1e6


def recorder_of(pid: int) -> psutil.Process:
    """The recorder among the services of a run: the one that has the journal open."""
    for process in psutil.Process(pid).children(recursive=True):
        if any(file.path.endswith(".mcap") for file in process.open_files()):
            return process
    raise RuntimeError("no process has a journal open")


def dropped(socket: zmq.Socket[bytes]) -> dict[str, int]:
    """Of every service, as it says itself."""
    found: dict[str, int] = {}
    end_s = time.monotonic() + 0.5
    while time.monotonic() < end_s:
        if socket.poll(50):
            one = decode("health", socket.recv_multipart()[1])
            if isinstance(one, HealthHeader):
                found[one.source] = one.dropped
    return found


def measure(
    folder: Path, n_rounds: int, seconds: float, load_hz: float, kinds: tuple[str, ...], scheduling: dict[str, Any]
) -> dict[str, Any]:
    """Medians over the rounds, their ratios to `idle`, and all rounds."""
    asked = yaml.safe_load((folder / "rig.yaml").read_text(encoding="utf-8")) | {"scheduling": scheduling}
    (folder / "measured.yaml").write_text(yaml.safe_dump(asked), encoding="utf-8")
    rig = load_rig(folder / "measured.yaml")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    delays, health = context.socket(zmq.SUB), context.socket(zmq.SUB)
    for endpoint in (rig.ports.inference_endpoint(0), rig.ports.endpoint("stimulation")):
        delays.connect(endpoint)
    for topic in (b"spikes.0", b"stim"):
        delays.subscribe(topic)
    for name in ("acquisition", "inference", "stimulation", "recording"):
        health.connect(rig.ports.endpoint(name))
    spawn = multiprocessing.get_context("spawn")
    loads = {kind: spawn.Value("d", 0.0) for kind in KINDS}
    loads["nice"] = loads["recorder"]
    refused, untaken = spawn.Value("q", 0), spawn.Value("q", 0)
    ends = rig.microscope.endpoint, rig.ports.endpoint("recorder_inlet"), f"tcp://127.0.0.1:{free_ports(1)[0]}"
    sources = [
        spawn.Process(target=stream, args=(folder, ends[0], loads["microscope"], rig.scheduling), daemon=True),
        spawn.Process(target=push, args=(folder, ends[1], loads["recorder"], refused), daemon=True),
        spawn.Process(target=push, args=(folder, ends[2], loads["sink"], untaken), daemon=True),
        spawn.Process(target=throw_away, args=(ends[2],), daemon=True),
    ]
    session = folder / f"session_{time.time_ns()}"
    line: tuple[str | Path, ...] = ("run", folder / "measured.yaml", "--output", session, "--no-gui")
    line += ("--calibration", folder / "calibration.h5", "--protocol", folder / "protocol.yaml")
    rounds: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    with (folder / "log").open("w") as log:
        for source in sources:
            source.start()
        run = subprocess.Popen(command(*line), stdout=log, stderr=log)
        try:
            end_s = time.monotonic() + PATIENCE_S
            while not delays_ms(delays, 1.0)["scan_to_command"] and time.monotonic() < end_s:
                pass
            health.subscribe(b"health")
            recorder = recorder_of(run.pid)
            usual = recorder.nice()
            for _ in range(n_rounds):
                for kind in kinds:
                    recorder.nice(usual + NICE if kind == "nice" else usual)
                    loads[kind].value = load_hz if kind != "idle" else 0.0
                    delays_ms(delays, 0.5)
                    before_mb, t_s = size_mb(session), time.monotonic()
                    found = delays_ms(delays, seconds)
                    grown = (size_mb(session) - before_mb) / (time.monotonic() - t_s)
                    loads[kind].value = 0.0
                    delays_ms(delays, 1.5)
                    rounds[kind].append(figures(found) | {"disk_mb_per_s": grown})
            lost = dropped(health) | {"refused_by_the_inlet": refused.value}
        finally:
            services = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
            run.terminate()
            run.wait()
            psutil.wait_procs(services, PATIENCE_S)  # they end by themselves, the recorder with its file closed
            for source in sources:
                source.terminate()
                source.join()
    context.destroy(linger=0)
    shutil.rmtree(session)
    medians = {kind: {key: median(one[key] for one in found) for key in found[0]} for kind, found in rounds.items()}
    over = {
        f"over_{base}": {
            kind: {key: medians[kind][key] / medians[base][key] for key in medians[kind] if key.endswith("_ms")}
            for kind in kinds
            if kind != base
        }
        for base in ("idle", "sink")
        if base in kinds
    }
    return {"medians": medians, **over, "dropped": lost, "rounds": rounds}


def figures(found: dict[str, list[float]]) -> dict[str, float]:
    """Median and 99th percentile of every interval, and how many commands there were."""
    out = {
        f"{name}_p{q}_ms": float(np.percentile(values, q)) if values else float("nan")
        for name, values in found.items()
        for q in (50, 99)
    }
    return out | {"commands": float(len(found["scan_to_command"]))}


def main() -> None:
    """Prepare, or run the rig and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("prepare", "measure"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--load-hz", type=float, default=400.0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--scheduling", choices=SCHEDULING, default="usual")
    parser.add_argument("--json", metavar="F")
    arguments = parser.parse_args()
    if arguments.what == "prepare":
        prepare(arguments.folder)
        return
    found = measure(
        arguments.folder,
        arguments.rounds,
        arguments.seconds,
        arguments.load_hz,
        tuple(arguments.kinds.split(",")),
        SCHEDULING[arguments.scheduling],
    )
    shown = {key: found[key] for key in ("medians", "over_idle", "over_sink", "dropped") if key in found}
    sys.stdout.write(json.dumps(shown, indent=1) + "\n")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
