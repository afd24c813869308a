"""`spikeloop bench soak`: does anything grow, is anything lost, over a million frames or hours?"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from rt_engine.bench.kernels import machine
from rt_engine.bench.loop.chain import ProductChain
from rt_engine.bench.loop.chain_plan import ChainPlan
from rt_engine.bench.loop.field import RATE_HZ, plant_loop
from rt_engine.bench.loop.intervals import Intervals
from rt_engine.bench.loop.latency import N_AHEAD, N_CELLS, N_FRAMES, SEED, SIDE_PX, percentiles
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.service_config import SchedulingConfig
from rt_engine.recording.message_counts import message_counts
from rt_engine.services.acquisition import AcquisitionService
from rt_engine.services.held_memory import hold_memory
from rt_engine.services.scheduling import apply_scheduling

MINUTE_S = 60.0
SETTLED_S = 60.0
"""What is there after the first minute is what growth is counted from."""
MOST_GROWTH_BYTES = 1024 * 1024
THIS = "source and supervisor"
"""The process of the benchmark: it sends frames with the parts of acquisition, and holds the supervisor."""
_USUAL_SHARE = 0.95
_LAST = 5
_STREAM_FRAMES = 2000
_PACED_FRAMES = 300
_IN_FULL = ("decided", "unused")


class SoakPlan(NamedTuple):
    """How long.

    Attributes
    ----------
    n_frames : int or None
        As fast as they go, a few under way; frames are not recorded, everything else is.
    duration_s : float
        At 30 Hz; used where `n_frames` is None. Frames are not recorded here either.
    n_cells : int
    side_px : int
        Lines of a frame, and pixels of a line.
    high_priority : bool
        `scheduling.high_priority` of the rig.
    """

    n_frames: int | None
    duration_s: float
    n_cells: int = N_CELLS
    side_px: int = SIDE_PX
    high_priority: bool = False


def run_soak(plan: SoakPlan, progress: Callable[[str, float], None]) -> dict[str, Any]:
    """Run inference, stimulation, recording and two subscribers of everything; Ctrl-C ends it early.

    Parameters
    ----------
    plan : SoakPlan
    progress : Callable
        Told the name of the part and the share that is done.

    Returns
    -------
    dict
        ``n_cells``, ``side_px``, ``high_priority``, ``machine``; ``refused``: what the system refused of it;
        ``load``: mean number of running processes of the whole machine, at begin and end; ``frames``,
        ``seconds``; ``trips``: how often everything stood still for so long that the interlock tripped;
        ``sent``: frames since the chain went live; ``fates``; ``journal``: messages by topic, as the journal says;
        ``unaccounted``; ``lost``: as `n_lost`;
        ``samples``: process to lists ``t_s``, ``rss_bytes``, ``handles``, ``threads``;
        ``growth_bytes``: process to growth after the first minute; ``handles_and_threads_constant``: see
        `is_constant`; ``minutes``: percentiles of scan_to_command, µs;
        ``met``.
    """
    hold_memory(AcquisitionService.held_bytes)  # this process sends the frames, as that service does
    wished = SchedulingConfig(high_priority=plan.high_priority)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spikeloop-soak-")))
        planted = plant_loop(plan.n_cells, plan.side_px, N_FRAMES, SEED)
        soaked = ChainPlan("soak", recorded=True, n_watchers=2, keeps_frames=False)
        with contextlib.closing(ProductChain(soaked, planted, folder / "session", wished)) as chain:
            refused = apply_scheduling(wished, AcquisitionService.source)
            watch, losses, done, seconds, load = _soak(plan, chain, progress)
        losses |= {"journal": message_counts(folder / "session")}
    field = {"n_cells": plan.n_cells, "side_px": plan.side_px, "high_priority": plan.high_priority, "refused": refused}
    return field | _figures(watch, losses, done, seconds, load)


def _soak(
    plan: SoakPlan, chain: ProductChain, progress: Callable[[str, float], None]
) -> tuple[_Watch, dict[str, Any], int, float, list[float]]:
    """Samples, losses, frames, seconds, and the load at the beginning."""
    watch = _Watch(chain)
    load = list(os.getloadavg()) if hasattr(os, "getloadavg") else []
    gc.collect()
    gc.disable()
    try:
        chain.go_live()
        begin_s, done, n_trips = time.monotonic(), 0, 0
        with contextlib.suppress(KeyboardInterrupt):
            while (share := _share(plan, done, time.monotonic() - begin_s)) < 1.0:
                progress("soak", share)
                if not chain.is_armed():
                    n_trips += 1
                    chain.go_live()
                fast = plan.n_frames is not None
                watch.take(chain.run_stream(_STREAM_FRAMES, N_AHEAD) if fast else chain.run(_PACED_FRAMES, RATE_HZ))
                done += _STREAM_FRAMES if fast else _PACED_FRAMES
        seconds = time.monotonic() - begin_s
        losses = chain.losses() | {"trips": n_trips}
        chain.pause()
    finally:
        gc.enable()
    return watch, losses, done, seconds, load


def _share(plan: SoakPlan, done: int, passed_s: float) -> float:
    return done / plan.n_frames if plan.n_frames else passed_s / plan.duration_s


class _Watch:
    """Samples all processes, and collects latencies minute by minute."""

    def __init__(self, chain: ProductChain) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in chain.pids().items()}
        self._processes[THIS] = psutil.Process()
        self._begin_s = time.monotonic()
        self.samples: dict[str, dict[str, list[float]]] = {
            name: {"t_s": [], "rss_bytes": [], "handles": [], "threads": []} for name in self._processes
        }
        self.minutes: list[dict[str, float]] = []
        self._of_minute: list[Any] = []

    def take(self, times: Intervals) -> None:
        """After some frames."""
        now_s = time.monotonic() - self._begin_s
        for name, process in self._processes.items():
            of = self.samples[name]
            with process.oneshot():
                of["t_s"].append(now_s)
                of["rss_bytes"].append(process.memory_info().rss)
                of["threads"].append(process.num_threads())
            of["handles"].append(_handles(process))
        self._of_minute.append(times.scan_to_command)
        if now_s >= (len(self.minutes) + 1) * MINUTE_S:
            self.end_minute()

    def end_minute(self) -> None:
        """Percentiles of what has been collected."""
        values_us = np.concatenate(self._of_minute or [np.zeros(0)]) / 1e3
        self._of_minute.clear()
        if len(values_us):
            self.minutes.append(percentiles(values_us))


def _handles(process: psutil.Process) -> int:
    """Open files and sockets; handles on Windows."""
    count = getattr(process, "num_fds", None) or getattr(process, "num_handles")  # noqa: B009
    return int(count())


def growth_bytes(t_s: list[float], rss_bytes: list[float]) -> float:
    """Largest resident memory after the first minute, less that at its end.

    Parameters
    ----------
    t_s, rss_bytes : list of float
        Samples in order of time.

    Returns
    -------
    float
        Bytes; 0 where nothing was sampled after the first minute.
    """
    after = [rss for t, rss in zip(t_s, rss_bytes, strict=True) if t >= SETTLED_S]
    return max(after) - after[0] if after else 0.0


def is_constant(counts: list[float]) -> bool:
    """Whether handles or threads neither grow nor vanish.

    After the first tenth of the samples one count has to stand in 95 % of them, and in most of the last five: a
    recorder that ends a file and begins the next holds another one open for the moment, and a leak changes the end.

    Parameters
    ----------
    counts : list of float
        Samples in order of time.
    """
    after = counts[len(counts) // 10 :]
    if not after:
        return True
    usual = max(set(after), key=after.count)
    last = after[-_LAST:]
    return after.count(usual) >= _USUAL_SHARE * len(after) and last.count(usual) > len(last) / 2


def _decided(losses: dict[str, Any]) -> int:
    return int(losses["fates"].get(Fate.DECIDED, 0))


def n_lost(losses: dict[str, Any]) -> int:
    """Frames of which inference says that they met another fate, or that were sent and not decided, if these are more.

    Parameters
    ----------
    losses : dict
        ``sent`` and ``fates``, as `ProductChain.losses` tells them.
    """
    told = sum(n for fate, n in losses["fates"].items() if fate not in _IN_FULL)
    return max(int(told), int(losses["sent"]) - _decided(losses))


def _figures(watch: _Watch, losses: dict[str, Any], frames: int, seconds: float, load: list[float]) -> dict[str, Any]:
    watch.end_minute()
    growth = {name: growth_bytes(of["t_s"], of["rss_bytes"]) for name, of in watch.samples.items()}
    lost = n_lost(losses)
    told = losses["journal"].get("activity.0", 0)
    steady = {name: all(is_constant(of[key]) for key in ("handles", "threads")) for name, of in watch.samples.items()}
    return {
        "machine": machine(),
        "load": {"begin": load, "end": list(os.getloadavg()) if hasattr(os, "getloadavg") else []},
        "frames": frames,
        "seconds": seconds,
        "frames_per_s": frames / seconds,
        **losses,
        "lost": lost,
        "samples": watch.samples,
        "growth_bytes": growth,
        "handles_and_threads_constant": steady,
        "minutes": watch.minutes,
        "met": {
            "0 frames lost": lost == 0 and losses["unaccounted"] == 0,
            "frames sent = decided = told in the journal": losses["sent"] == _decided(losses) == told,
            "resident memory grows by less than 1 MiB": all(g < MOST_GROWTH_BYTES for g in growth.values()),
            "handles and threads are constant": all(steady.values()),
        },
    }
