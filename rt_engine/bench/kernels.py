"""`spikeloop bench kernels`: what is measured, and the figures that come of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite.binding import get_host_cpu_name

from rt_engine.bench import chain_cost, deconvolution, frame_cost
from rt_engine.bench.deconvolution import AR1, AR2, LIVE_S_MIN
from rt_engine.bench.rounds import Spread, measure

REFERENCE_CELLS = 1000


class Plan(NamedTuple):
    """Sizes of the benchmark.

    Attributes
    ----------
    n_rois : tuple of int
    n_samples : int
        Cells times frames of one round.
    n_peer_traces, n_peer_frames : int
        Traces that a batch method is given a round.
    n_frames : int
        Of the frame benchmark.
    n_rounds : int
    """

    n_rois: tuple[int, ...] = (100, 1_000, 10_000, 100_000)
    n_samples: int = 500_000
    n_peer_traces: int = 100
    n_peer_frames: int = 1000
    n_frames: int = 300
    n_rounds: int = 9


TARGETS: dict[str, tuple[str, float]] = {
    "AR(1) vs oasis-deconv": (">=", 5.0),
    "AR(1), s_min vs oasis-deconv": (">=", 5.0),
    "AR(1) vs suite2p": (">=", 3.5),
    "AR(2) vs oasis-deconv": (">=", 12.0),
    "AR(1) cost of a cell, 10,000 vs 1,000": ("<=", 1.5),
    "AR(1) cost of a cell, 100,000 vs 1,000": ("<=", 4.0),
    "trace stage, combined vs memory pass": ("<=", 4.0),
    "trace stage, matched filter vs memory pass": ("<=", 4.0),
    "network vs rest of the chain": ("<=", 0.6),
}
_PEER_OF = {
    "AR(1)": ("oasis-deconv AR(1)", "suite2p AR(1)"),
    "AR(1), s_min": ("oasis-deconv AR(1), s_min",),
    "AR(2)": ("oasis-deconv AR(2)",),
}


def run_kernel_benchmark(plan: Plan, progress: Callable[[str, float], None]) -> dict[str, Any]:
    """Measure everything.

    Parameters
    ----------
    plan : Plan
    progress : Callable
        Told the name of the part and the share that is done.

    Returns
    -------
    dict
        ``machine``; ``ns_per_sample``: number of cells (as text) to method to [median, lowest, highest]; ``ratios``:
        what to what, at so many cells; ``frame_us``; ``targets``: name to value, bound and whether it is met;
        ``suite2p`` (bool): whether it could be measured.

    Raises
    ------
    SpikeloopError
        oasis-deconv is not installed.
    """
    size = plan.n_peer_traces, plan.n_peer_frames
    peers = [
        deconvolution.oasis_deconv("oasis-deconv AR(1)", AR1, *size, 0.0),
        deconvolution.oasis_deconv("oasis-deconv AR(1), s_min", AR1, *size, LIVE_S_MIN),
        deconvolution.oasis_deconv("oasis-deconv AR(2)", AR2, *size, 0.0),
    ]
    suite2p = deconvolution.suite2p("suite2p AR(1)", AR1, *size)
    if suite2p is not None:
        peers.append(suite2p)
    times: dict[int, dict[str, Any]] = {}
    for k, n_rois in enumerate(plan.n_rois):
        progress("deconvolution", k / len(plan.n_rois))
        n_frames = max(5, plan.n_samples // n_rois)
        times[n_rois] = measure(deconvolution.contestants(n_rois, n_frames, peers), plan.n_rounds)
    progress("deconvolution", 1.0)
    of_frame = frame_cost.contestants(REFERENCE_CELLS, plan.n_frames) + chain_cost.contestants(REFERENCE_CELLS)
    frame_times = measure(of_frame, plan.n_rounds)
    progress("frame", 1.0)
    return _figures(plan, times, frame_times, suite2p is not None)


def _figures(plan: Plan, times: Any, frame_times: Any, has_suite2p: bool) -> dict[str, Any]:
    ratios: dict[str, dict[str, Spread]] = {}
    for n_rois, of in times.items():
        for ours, peers in _PEER_OF.items():
            for peer in (p for p in peers if p in of):
                name = f"{ours} vs {peer.split(' AR')[0]}"
                ratios.setdefault(name, {})[str(n_rois)] = Spread.of(of[peer] / of[ours])
    frame = {name: Spread.of(values / frame_times["memory pass"]) for name, values in frame_times.items()}
    found = {name: of[str(REFERENCE_CELLS)].median for name, of in ratios.items() if str(REFERENCE_CELLS) in of}
    found |= {f"{name} vs memory pass": spread.median for name, spread in frame.items()}
    network = frame_times[frame_cost.WITH_NETWORK] - frame_times["trace stage, combined"]
    rest = frame_times["registration"] + frame_times["extraction"] + frame_times["trace stage, combined"]
    found["network vs rest of the chain"] = float(np.median(network / rest))
    for n_rois, of in times.items():
        if n_rois > REFERENCE_CELLS in times:
            for name in _PEER_OF:
                growth = np.median(of[name]) / np.median(times[REFERENCE_CELLS][name])
                found[f"{name} cost of a cell, {n_rois:,} vs {REFERENCE_CELLS:,}"] = float(growth)
    return {
        "machine": machine(),
        "n_rounds": plan.n_rounds,
        "suite2p": has_suite2p,
        "ns_per_sample": {str(n): {name: Spread.of(t) for name, t in of.items()} for n, of in times.items()},
        "ratios": ratios,
        "frame_us": {name: Spread.of(t / 1e3) for name, t in frame_times.items()},
        "frame_vs_memory_pass": frame,
        "targets": {
            name: {"value": found[name], "bound": f"{sign} {bound:g}", "met": _is_met(found[name], sign, bound)}
            for name, (sign, bound) in TARGETS.items()
            if name in found
        },
    }


def _is_met(value: float, sign: str, bound: float) -> bool:
    return value >= bound if sign == ">=" else value <= bound


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{platform.machine()} ({get_host_cpu_name()})",
        "cores": str(os.cpu_count()),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }
