"""Small rigs in real processes: config files, the command, and what it left behind."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import yaml

from rt_engine.transport.free_ports import free_port_block, free_ports

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SPIKELOOP_DATA", ROOT.parent / "shared" / "data"))
PORTS = (
    *("control", "acquisition", "inference", "stimulation", "stimulation_control"),
    *("recording", "telemetry", "supervisor", "recorder_inlet", "engine_frames", "decisions", "shared_frames"),
)
DEADLINE_S = 900.0
MOST_PLANES = 8


def small_rig(**changes: Any) -> dict[str, Any]:
    """The shipped virtual rig at 128 x 128 with 14 cells, as fast as it is consumed, on free ports.

    `changes` are keys with double underscores for dots: ``microscope__pace="real_time"``.
    """
    rig: dict[str, Any] = yaml.safe_load((ROOT / "hardware_configs" / "virtual_rig.yaml").read_text(encoding="utf-8"))
    rig["name"] = "small"
    rig["microscope"] |= {"n_lines": 128, "pixels_per_line": 128, "pace": "max"}
    rig["microscope"]["sample"] |= {"n_cells": 14}
    rig["ports"] = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    rig["ports"]["inference"] = free_port_block(MOST_PLANES)  # the planes after the first have the ports after it
    for key, value in changes.items():
        section = rig
        *path, last = key.split("__")
        for part in path:
            section = section[part]
        section[last] = value
    return copy.deepcopy(rig)


def write_rig(folder: Path, rig: dict[str, Any], name: str = "rig.yaml") -> Path:
    """Write a rig file."""
    path = folder / name
    path.write_text(yaml.safe_dump(rig, sort_keys=False), encoding="utf-8")
    return path


def command(*arguments: str | Path) -> list[str]:
    """Command line of `spikeloop` with this interpreter."""
    return [sys.executable, "-m", "rt_engine", *map(str, arguments)]


def spikeloop(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=DEADLINE_S, cwd=cwd, check=False)


def summary_of(session: Path) -> dict[str, Any]:
    """``summary.json`` of a session."""
    summary: dict[str, Any] = json.loads((session / "summary.json").read_text(encoding="utf-8"))
    return summary


@dataclass
class RunningRig:
    """A run in the background, ended and checked for leftovers by `close`."""

    process: subprocess.Popen[str]
    rig: Path
    session: Path
    log: Path

    def ctl(self, *arguments: str) -> dict[str, Any]:
        """Result of `spikeloop ctl` to this run."""
        done = spikeloop("ctl", *arguments, "--rig", self.rig)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def wait_for(self, what: str, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for the status until `done` says yes."""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            if self.process.poll() is not None:
                raise RuntimeError(f"the run ended while waiting for {what}:\n{self.output()}")
            try:
                status = self.ctl("status")
            except RuntimeError:
                continue
            if done(status):
                return status
        raise TimeoutError(f"{what} did not come:\n{self.output()}")

    def live(self) -> dict[str, Any]:
        """Status once the run is live."""
        return self.wait_for("live", lambda status: status["phase"] == "live" and status["frames"] > 5)

    def wait(self) -> int:
        """Exit code, at the end of the run."""
        return self.process.wait(DEADLINE_S)

    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text(encoding="utf-8")

    def wait_for_output(self, text: str) -> None:
        """Wait until it has printed `text`."""
        deadline_s = time.monotonic() + DEADLINE_S
        while text not in self.output():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{text!r} was not printed:\n{self.output()}")
            time.sleep(0.05)

    def children(self) -> list[psutil.Process]:
        """Its processes."""
        return psutil.Process(self.process.pid).children(recursive=True)


class Start(Protocol):
    """The fixture `start`."""

    def __call__(
        self, rig: dict[str, Any], *arguments: str | Path, name: str = "session", file_size_limit: int | None = None
    ) -> RunningRig:
        """Start `spikeloop run` in the background; no file may grow beyond `file_size_limit` bytes."""
        ...


def start_run(
    folder: Path, rig: dict[str, Any], *arguments: str | Path, name: str, file_size_limit: int | None
) -> RunningRig:
    """See `Start`."""
    path, session, log = write_rig(folder, rig, f"{name}.yaml"), folder / name, folder / f"{name}.log"
    with log.open("w", encoding="utf-8") as stream:
        line = command("run", path, "--output", session, *arguments)
        if file_size_limit is not None:
            line = ["prlimit", f"--fsize={file_size_limit}", *line]
        process = subprocess.Popen(line, stdout=stream, stderr=stream, text=True)
    return RunningRig(process, path, session, log)


def wait_gone(pids: list[int], timeout_s: float = 60.0) -> list[int]:
    """Those of `pids` that still live after `timeout_s`."""
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout_s)
    return [process.pid for process in alive]
