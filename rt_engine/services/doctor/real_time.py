"""How evenly this computer lets a loop run, and the settings that decide it."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import zmq

from rt_engine.interfaces.findings import Finding, Verdict, passed
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.doctor import placement, windows

_TURN_S = 0.005
_ROUND_TRIPS = 300
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def evenness(
    rig: RigConfig,
    seconds: float = 2.0,
    now_ns: Callable[[], int] = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Finding:
    """The longest turn of a loop like the one that feeds the watchdogs, against the shortest watchdog of the rig."""
    longest_ns, begun_ns = 0, now_ns()
    last_ns = begun_ns
    while last_ns - begun_ns < seconds * 1e9:
        sleep(_TURN_S)
        t_ns = now_ns()
        longest_ns, last_ns = max(longest_ns, t_ns - last_ns), t_ns
    longest_ms = longest_ns / 1e6
    shortest_ms = min((one.watchdog_ms for one in rig.outputs.values()), default=float("inf"))
    text = f"the longest turn of a {_TURN_S * 1e3:g} ms loop in {seconds:g} s was {longest_ms:.1f} ms"
    if longest_ms < shortest_ms / 2:
        return passed("real time", text)
    verdict = Verdict.FAIL if longest_ms >= shortest_ms else Verdict.WARN
    meaning = f"the shortest watchdog_ms is {shortest_ms:g}: light would go off and the interlock trip in the middle"
    return Finding(verdict, "real time", text, meaning, "close other programs; see the settings of the system below")


def hop() -> Finding:
    """Time of a message between two sockets on this computer, there and back."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    times_us = []
    try:
        left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        port = left.bind_to_random_port("tcp://127.0.0.1")
        right.connect(f"tcp://127.0.0.1:{port}")
        for _ in range(_ROUND_TRIPS):
            begun_ns = time.perf_counter_ns()
            left.send(b"x" * 200)
            right.send(right.recv())
            left.recv()
            times_us.append((time.perf_counter_ns() - begun_ns) / 1e3)
    finally:
        context.destroy(linger=0)
    times_us.sort()
    middle_us, p99_us = times_us[len(times_us) // 2], times_us[int(len(times_us) * 0.99)]
    text = f"a message goes there and back in {middle_us:.0f} us (p99 {p99_us:.0f} us)"
    if p99_us > 5000:
        remedy = "close other programs; on Windows exclude the Python of spikeloop from virus scanning"
        return Finding(Verdict.WARN, "latency", text, "every hop of the loop costs that", remedy)
    return passed("latency", text)


def settings(rig: RigConfig, folder: Path) -> list[Finding]:
    """Power, swap, and how processes are scheduled; on Windows also what may stop files and messages.

    Parameters
    ----------
    rig : RigConfig
    folder : Path
        Where sessions are written.
    """
    found = [*_battery(), *_swap(), *placement.scheduling(rig)]
    if platform.system() == "Linux":
        found += _linux()
    if platform.system() == "Windows":
        found += windows.settings(_said, str(folder.resolve()), listens=_listens(rig))
    return found


def _listens(rig: RigConfig) -> bool:
    """Whether another computer connects to this one: to its services, or as a microscope that sends."""
    host = getattr(rig.microscope, "host", "127.0.0.1")
    return not rig.ports.is_loopback or host not in ("127.0.0.1", "localhost", "::1")


def _battery() -> list[Finding]:
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is None or battery.power_plugged:
        return []
    meaning = "a computer on battery slows its processor down"
    return [Finding(Verdict.WARN, "power", "on battery", meaning, "plug it in")]


def _swap() -> list[Finding]:
    used_gb = psutil.swap_memory().used / 1e9
    if used_gb < 0.5:
        return []
    text, meaning = f"{used_gb:.1f} GB are swapped out", "touching them stops a loop for tens of milliseconds"
    return [Finding(Verdict.WARN, "memory", text, meaning, "close other programs, or restart the computer")]


def _linux() -> list[Finding]:
    found = []
    if _GOVERNOR.is_file():
        governor = _GOVERNOR.read_text(encoding="ascii").strip()
        text = f"CPU governor {governor}"
        slow = Finding(
            Verdict.WARN,
            "power",
            text,
            "the processor is slow at first after every pause",
            "sudo cpupower frequency-set -g performance",
        )
        found.append(passed("power", text) if governor == "performance" else slow)
    return found


def _said(command: list[str]) -> str | None:
    """What a program of the system prints; None where it is missing or refuses.

    Programs of Windows write in the code page of its terminals, which is not that of its files.
    """
    encoding = "oem" if sys.platform == "win32" else "utf-8"
    try:
        done = subprocess.run(command, capture_output=True, encoding=encoding, errors="replace", timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
