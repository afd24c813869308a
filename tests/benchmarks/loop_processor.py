"""How much processor a frame costs each process of the loop at full speed, frames in shared memory against messages.

``python tests/benchmarks/loop_processor.py``: both chains are alive together and take turns.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from rt_engine.bench.loop.chain import ProductChain
from rt_engine.bench.loop.chain_plan import ChainPlan
from rt_engine.bench.loop.field import plant_loop
from rt_engine.bench.loop.latency import N_AHEAD, N_CELLS, N_FRAMES, SEED, SIDE_PX
from rt_engine.interfaces.service_config import FrameWay

N_TURNS, N_OF_TURN = 3, 1200


def processes(chain: ProductChain) -> dict[str, psutil.Process]:
    """Services, this process as the source, and the subscribers."""
    services = {name: psutil.Process(pid) for name, pid in chain.pids().items()}
    subscribers = {f"subscriber {n}": psutil.Process(pid) for n, pid in enumerate(chain.watcher_pids())}
    return services | {"source": psutil.Process()} | subscribers


def used_s(of: dict[str, psutil.Process]) -> dict[str, np.ndarray]:
    """User and system seconds of each process so far."""
    times = {name: process.cpu_times() for name, process in of.items()}
    return {name: np.array([one.user, one.system]) for name, one in times.items()}


def main() -> None:
    planted = plant_loop(N_CELLS, SIDE_PX, N_FRAMES, SEED)
    with tempfile.TemporaryDirectory(prefix="spikeloop-processor-") as folder:
        chains = {
            way: ProductChain(
                ChainPlan(way.value, recorded=True, n_watchers=2, keeps_frames=False, frames_by=way),
                planted,
                Path(folder) / way.value,
            )
            for way in FrameWay
        }
        gc.disable()
        try:
            for _ in range(N_TURNS):
                for way, chain in chains.items():
                    of = processes(chain)
                    chain.go_live()
                    before, begin_s = used_s(of), time.perf_counter()
                    chain.run_stream(N_OF_TURN, N_AHEAD)
                    took_s, after = time.perf_counter() - begin_s, used_s(of)
                    us = {name: np.rint((after[name] - before[name]) / N_OF_TURN * 1e6).astype(int) for name in of}
                    parts = ", ".join(f"{name} {user} + {system}" for name, (user, system) in us.items())
                    total = sum(int(one.sum()) for one in us.values())
                    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
                    sys.stdout.write(
                        f"{way}: {N_OF_TURN / took_s:.0f} frames a second; µs a frame: {parts}; "
                        f"{total} together; load {load:.1f}\n"
                    )
                    chain.pause()
        finally:
            for chain in chains.values():
                chain.close()


if __name__ == "__main__":
    main()
