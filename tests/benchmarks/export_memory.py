"""Does the memory of `spikeloop export` grow with the session? Sessions of several lengths, the peak of each export.

    python tests/benchmarks/export_memory.py /tmp/export --minutes 6 60 --sample-rate-hz 10000

With `--sample-rate-hz` an analogue line is sampled all the while, in blocks of 0.1 s, and loses a second every minute,
so that every sample has a time of its own in the file. Synthetic frames of 64 x 64 at 30 Hz, as many as there are in so
many minutes, with traces and events of 20 cells; 20 kB of disk a frame. Memory is the largest resident set of the
process that exports.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import psutil
from synthetic_session import T_MONO_NS, SessionMaker, make_calibration
from system_rig import command

from rt_engine.interfaces.messages import SyncHeader

SIZE, RATE_HZ, N_CELLS = 64, 30.0, 20


def sample(maker: SessionMaker, frame: int, sample_rate_hz: float) -> None:
    """The samples of the last 0.1 s, after every third frame."""
    t_s = frame / RATE_HZ
    if frame % 3 or t_s % 60 > 59:
        return
    maker.send(
        "sync", SyncHeader, "acquisition", np.full(round(sample_rate_hz / 10), frame, "<f4").tobytes(), line="wheel",
        kind="samples", t_edge_ns=None, edge=None, t_first_ns=T_MONO_NS + round(t_s * 1e9),
        sample_rate_hz=sample_rate_hz, dtype="f4",
    )  # fmt: skip


def record(folder: Path, n_frames: int, sample_rate_hz: float) -> None:
    """A session of so many frames."""
    maker = SessionMaker(folder, RATE_HZ)
    maker.session()
    places = [(8 + 12 * (k // 5), 6 + 12 * (k % 5)) for k in range(N_CELLS)]
    make_calibration(folder / "calibration.h5", places, tuple(range(1, N_CELLS + 1)), size=SIZE)
    random = np.random.default_rng(1)
    pixels = random.integers(100, 400, (64, SIZE, SIZE)).astype(np.uint16)
    for frame in range(n_frames):
        maker.frame(frame, pixels[frame % len(pixels)])
        if sample_rate_hz:
            sample(maker, frame, sample_rate_hz)
        maker.spikes(frame, [(1 + frame % N_CELLS, frame - 2)] if frame % 30 == 5 else [])
        maker.activity(frame, np.full((8, N_CELLS), frame % 100, np.float32))
    maker.close()


def exported(folder: Path) -> dict[str, float]:
    """Peak memory and time of the export."""
    line = command("export", folder, "-o", folder / "x.nwb")
    start_s, peak_bytes = time.monotonic(), 0
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peak_bytes = max(peak_bytes, watched.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.02)
    if process.returncode != 0:
        raise SystemExit(f"the export failed: {' '.join(line)}")
    size_mb = sum(path.stat().st_size for path in folder.glob("session_*.mcap")) / 1e6
    return {
        "journal_mb": round(size_mb), "peak_mb": round(peak_bytes / 1e6), "took_s": round(time.monotonic() - start_s, 1)
    }  # fmt: skip


def main() -> None:
    """Record, export, compare, and delete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[6.0, 60.0])
    parser.add_argument("--sample-rate-hz", type=float, default=0.0)
    arguments = parser.parse_args()
    for minutes in arguments.minutes:
        folder = arguments.folder / f"{minutes:g}"
        n_frames = round(minutes * 60 * RATE_HZ)
        record(folder, n_frames, arguments.sample_rate_hz)
        sys.stdout.write(json.dumps({"minutes": minutes, "frames": n_frames, **exported(folder)}) + "\n")
        sys.stdout.flush()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
