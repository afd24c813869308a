"""What an hour of journal costs in memory, and a frame in processor time; no real time passes.

    python tests/benchmarks/journal_memory.py

35,000 flushes of five small messages each, an hour's, go into one file: resident memory after the first 500 and at the
end, and how long the file took to end. Then frames of 512 x 512 with what comes along with them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

from rt_engine.recording.journal import JournalWriter

N_WARM, N_FLUSHES, N_FRAMES, N_ROUNDS = 500, 35_000, 300, 5
TOPICS = ("spikes.0", "activity.0", "health", "stim", "state")
MIB = 1 << 20


def hour(folder: Path) -> tuple[float, float]:
    """Resident memory after the first flushes and until the end, MiB; seconds that ending the file took."""
    journal = JournalWriter(folder, 0, 0, file_bytes=1 << 40)
    process = psutil.Process()
    before = 0
    for i in range(N_WARM + N_FLUSHES):
        if i == N_WARM:
            before = process.memory_info().rss
        for topic in TOPICS:
            journal.write(topic, b"h" * 100, b"p" * 50, i * 100_000_000)
        journal.flush()
    grown = process.memory_info().rss - before
    t_s = time.perf_counter()
    journal.close()
    return grown / MIB, time.perf_counter() - t_s


def frames(folder: Path) -> float:
    """Processor time for a frame of 512 KiB with its events and traces, milliseconds."""
    journal = JournalWriter(folder, 0, 0)
    payload = memoryview(os.urandom(512 * 1024))
    t_s = time.process_time()
    for i in range(N_FRAMES):
        journal.write("frame.0.0", b"h" * 500, payload, i)
        journal.write("spikes.0", b"h" * 200, b"p" * 40, i)
        journal.write("activity.0", b"h" * 300, b"p" * 8000, i)
    journal.close()
    return (time.process_time() - t_s) / N_FRAMES * 1e3


def main() -> None:
    """Print both."""
    with tempfile.TemporaryDirectory() as name:
        grown_mib, end_s = hour(Path(name))
        costs_ms = []
        for i in range(N_ROUNDS):
            folder = Path(name) / str(i)
            folder.mkdir()
            costs_ms.append(frames(folder))
            for path in folder.iterdir():
                path.unlink()
    sys.stdout.write(f"{N_FLUSHES} flushes: {grown_mib:.2f} MiB more, {end_s * 1e3:.0f} ms to end the file\n")
    sys.stdout.write(f"a frame of 512 KiB: {median(costs_ms):.3f} ms of a core\n")


if __name__ == "__main__":
    main()
