"""Packages, memory, disk, clock and ports of this computer."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import psutil

from rt_engine.interfaces.findings import Finding, Verdict, passed
from rt_engine.interfaces.rig_config import RigConfig, VirtualMicroscope

_PROBE_BYTES = 64 << 20
_VENDORS = ("nidaqmx", "pyserial", "pymmcore")
_USUAL_SHAPE, _USUAL_RATE_HZ = (512, 512), 30.0
_SESSION_S = 3600
_LEAST_MEMORY_GB = 4.0


def packages() -> list[Finding]:
    """Python, and every package that the installed spikeloop requires without an extra."""
    bits = platform.architecture()[0]
    found = [passed("python", f"{platform.python_version()}, {bits}, {sys.platform}")]
    if bits != "64bit":
        text = "a rig needs 64-bit Python"
        found = [Finding(Verdict.FAIL, "python", bits, text, "install the 64-bit Python from python.org")]
    missing, versions = [], []
    for requirement in metadata.requires("spikeloop") or []:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[<>=!~ ;\[]", requirement, maxsplit=1)[0]
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        text, remedy = f"missing: {', '.join(missing)}", "pip install -e . in the folder of spikeloop"
        return [*found, Finding(Verdict.FAIL, "packages", text, "spikeloop cannot run without them", remedy)]
    return [*found, passed("packages", ", ".join(versions)), passed("hardware packages", _hardware())]


def _hardware() -> str:
    """Packages of vendors, with their versions; a driver that needs one says so itself where it is missing."""
    told = []
    for name in _VENDORS:
        try:
            told.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            told.append(f"{name} not installed")
    return ", ".join(told)


def memory() -> Finding:
    """Free memory, and whether the computer is swapping."""
    free_gb = psutil.virtual_memory().available / 1e9
    text = f"{free_gb:.1f} GB free of {psutil.virtual_memory().total / 1e9:.1f}, {os.cpu_count()} cores"
    if free_gb < _LEAST_MEMORY_GB:
        meaning = f"below {_LEAST_MEMORY_GB:g} GB the computer may swap, and the loop stands still while it does"
        return Finding(Verdict.WARN, "memory", text, meaning, "close other programs")
    return passed("memory", text)


def frame_bytes_per_s(rig: RigConfig) -> float:
    """What the journal has to take, as far as the rig file says: size, rate, channels; else 512 x 512 at 30 Hz."""
    microscope = rig.microscope
    lines, pixels = getattr(microscope, "frame_shape", None) or _USUAL_SHAPE
    channels = len(getattr(microscope, "channels", None) or (0,))
    if isinstance(microscope, VirtualMicroscope):
        lines, pixels = microscope.n_lines, microscope.pixels_per_line
        channels = 1 if microscope.structural_photons is None else 2
    rate_hz = getattr(microscope, "frame_rate_hz", None) or _USUAL_RATE_HZ
    return 2.0 * lines * pixels * channels * float(rate_hz)


def disk(folder: Path, needed_bytes_per_s: float, n_bytes: int = _PROBE_BYTES) -> list[Finding]:
    """Speed of the disk, by writing and syncing a file, and how long there is room."""
    probe = folder / ".spikeloop-doctor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        begun_s = time.perf_counter()
        with probe.open("wb") as file:
            for _ in range(n_bytes >> 20):
                file.write(os.urandom(1 << 20))
            file.flush()
            os.fsync(file.fileno())
        mb_per_s = n_bytes / 1e6 / (time.perf_counter() - begun_s)
    except OSError as error:
        text = f"{folder.resolve()} cannot be written: {error.strerror}"
        remedy = "give another folder with --output, or change its permissions"
        return [Finding(Verdict.FAIL, "disk", text, "a session could not be recorded", remedy)]
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    needed_mb_per_s, free_gb = needed_bytes_per_s / 1e6, shutil.disk_usage(folder).free / 1e9
    text = f"{mb_per_s:.0f} MB/s where frames need {needed_mb_per_s:.1f}"
    lasts_s = free_gb * 1e9 / needed_bytes_per_s
    room = f"{free_gb:.0f} GB free: {lasts_s / 3600:.1f} h of frames"
    slow = Finding(Verdict.FAIL, "disk", text, "frames would be lost", "record to an internal SSD with --output")
    tight = Finding(Verdict.WARN, "disk", text, "bursts of another program can fill the queue", slow.remedy)
    short = Finding(Verdict.WARN, "disk", room, "frames end when it is full, events go on", "free some space")
    speed = slow if mb_per_s < needed_mb_per_s else tight if mb_per_s < 3 * needed_mb_per_s else passed("disk", text)
    return [speed, short if lasts_s < _SESSION_S else passed("disk", room)]


def clock(
    seconds: float = 0.5,
    monotonic_ns: Callable[[], int] = time.perf_counter_ns,
    wall_ns: Callable[[], int] = time.time_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Finding:
    """Whether the clock that the loop lives by runs like the wall clock, and never backwards."""
    t0_ns, wall0_ns = monotonic_ns(), wall_ns()
    last_ns, backwards = t0_ns, False
    while last_ns - t0_ns < seconds * 1e9:
        sleep(0.005)
        now_ns = monotonic_ns()
        backwards |= now_ns < last_ns
        if now_ns <= last_ns:
            break
        last_ns = now_ns
    drift_ppm = ((wall_ns() - wall0_ns) / max(1, last_ns - t0_ns) - 1) * 1e6
    text = f"the wall clock differs by {drift_ppm:+.0f} ppm from the one the loop uses"
    if backwards or last_ns == t0_ns:
        meaning = "ages of decisions cannot be judged; the interlock will trip"
        return Finding(
            Verdict.FAIL, "clock", "the clock stands or runs backwards", meaning, "update the firmware and OS"
        )
    if abs(drift_ppm) > 2000:
        meaning = "wall times in the archive shift during a session; time synchronisation is stepping the clock"
        return Finding(Verdict.WARN, "clock", text, meaning, "let it settle, or stop the time service for the session")
    return passed("clock", text)


_MORE_PORTS = {"stimulation": {"stimulation_control"}, "acquisition": {"engine_frames", "shared_frames"}}
"""Of a service that lives elsewhere, beside that of its name."""


def ports(rig: RigConfig) -> Finding:
    """Whether somebody else listens where the services want to."""
    wanted = dict(rig.ports.all_ports())
    wanted |= {f"inference of plane {p}": rig.ports.inference + p for p in rig.planes_inferred if p > 0}
    for far in rig.ports.hosts:  # what lives elsewhere takes no port here
        kind, _, plane = far.partition(".")
        own = {far, kind} if plane in ("", "0") else {f"inference of plane {plane}"}
        own |= _MORE_PORTS.get(kind, set())
        own |= {name for name in wanted if not plane and name.startswith(f"{kind} of plane")}
        wanted = {name: port for name, port in wanted.items() if name not in own}
    taken = []
    for name, port in wanted.items():
        with socket.socket() as probe:
            try:
                probe.bind((rig.ports.host, port))
            except OSError:
                taken.append(f"{port} ({name})")
    if taken:
        text, meaning = f"taken: {', '.join(taken)}", "a run of this rig would not start"
        remedy = "end the run that uses them (`spikeloop ctl stop`), or set other `ports` in the rig file"
        return Finding(Verdict.FAIL, "ports", text, meaning, remedy)
    return passed("ports", f"{min(wanted.values())} to {max(wanted.values())} are free")
