"""Calibrations that several tests share, and a guard against leftovers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from system_rig import RunningRig, Start, small_rig, spikeloop, start_run, write_rig

for screen in ("DISPLAY", "WAYLAND_DISPLAY"):
    # No run of a test opens a window, unless the test says so.
    os.environ.pop(screen, None)


@pytest.fixture(scope="session")
def small_calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calibration of the small rig from 3,000 frames of its own movie."""
    folder = tmp_path_factory.mktemp("calibration")
    rig, movie, calibration = write_rig(folder, small_rig()), folder / "movie.tif", folder / "calibration.h5"
    done = spikeloop("simulate", rig, "-o", movie, "--duration", "100", "--seed", "1")
    assert done.returncode == 0, done.stderr
    done = spikeloop("calibrate", movie, "-o", calibration)
    assert done.returncode == 0, done.stderr
    return calibration


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts runs, and fails the test if one leaves a process or a port behind."""
    runs: list[RunningRig] = []
    ports: list[int] = []

    def begin(
        rig: dict[str, Any], *arguments: str | Path, name: str = "session", file_size_limit: int | None = None
    ) -> RunningRig:
        run = start_run(tmp_path, rig, *arguments, name=name, file_size_limit=file_size_limit)
        runs.append(run)
        ports.extend(rig["ports"].values())
        return run

    yield begin
    left: list[str] = []
    for run in runs:
        if run.process.poll() is None:
            left.append(f"the run itself:\n{run.output()}")
            for child in run.children():
                child.kill()
            run.process.kill()
            run.process.wait()
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                left.append(f"port {port}")
    assert not left, left
