"""What our driver's firing call costs over the bare calls of `nidaqmx`, round by round in one run.

``PYTHONPATH=.:tests python tests/benchmarks/test_ni_overhead.py`` prints the figures.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import nidaqmx
import numpy as np
import pytest
from ni_rig import NiRig
from nidaqmx.constants import AcquisitionType, TaskMode
from nidaqmx.stream_writers import AnalogSingleChannelWriter
from safety_rig import FakeClock

from drivers.ni.connection import NiConnection
from drivers.outputs.ni_shape import Shape, pulse_samples
from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.interfaces.messages import Outcome

ROUNDS = 200
LAX = {"max_energy_per_target_mj": 1e9, "max_total_energy_mj": 1e9}


class Bare:
    """A train of the same samples on another card of the server, by the official package alone."""

    def __init__(self, card: NiConnection) -> None:
        self.samples = pulse_samples(Shape(1, 5000, 0, 1.0), 100_000.0)
        self.task = card.task("bare")
        self.task.ao_channels.add_ao_voltage_chan("Dev2/ao0", min_val=0.0, max_val=5.0)
        mode = AcquisitionType.FINITE
        self.task.timing.cfg_samp_clk_timing(100_000.0, sample_mode=mode, samps_per_chan=len(self.samples))
        self.writer = AnalogSingleChannelWriter(self.task.out_stream, auto_start=False)
        self.writer.verify_array_shape = False
        self.write_us()
        self.task.control(TaskMode.TASK_COMMIT)

    def start_us(self) -> float:
        """Time of one call that starts it."""
        taken_us = _us(self.task.start)
        self.task.stop()
        return taken_us

    def write_us(self) -> float:
        """Time of one call that writes its buffer."""
        return _us(lambda: self.writer.write_many_sample(np.ascontiguousarray(self.samples)))


def _us(do: Callable[[], Any]) -> float:
    begun_ns = time.perf_counter_ns()
    do()
    return (time.perf_counter_ns() - begun_ns) / 1e3


@contextmanager
def _rigs() -> Iterator[tuple[NiRig, Bare]]:
    clock = FakeClock()
    cards = [SimulatedCard(name, clock.now_ns) for name in ("Dev1", "Dev2")]
    with serving(cards) as (servicer, port):
        rig = NiRig(port, servicer, cards[0], clock, kind="analog", bounds=LAX)
        other = NiConnection("bare", "Dev2", f"127.0.0.1:{port}")
        other.open()
        bare = Bare(other)
        try:
            yield rig.armed(), bare  # type: ignore[misc]
        finally:
            other.end(bare.task)
            other.close()
            rig.output.close()


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Medians in microseconds, and medians of the ratios of each round."""
    taken: dict[str, list[float]] = {one: [] for one in ("same", "power", "shape", "back", "start", "write", "python")}
    with _rigs() as (rig, bare):
        fire = rig.output.fire
        kind = "same"

        def timed(command: Any) -> int:
            begun_ns = time.perf_counter_ns()
            t_command_ns = fire(command)
            taken[kind].append((time.perf_counter_ns() - begun_ns) / 1e3)
            return t_command_ns

        def ask(what: str, power_mw: float, width_ms: float) -> None:
            nonlocal kind
            kind = what
            rig.beat()
            decision = rig.interlock.request(rig.request(power_mw=power_mw, width_ms=width_ms))
            if decision.outcome is not Outcome.DELIVERED:
                raise RuntimeError(decision.reason)
            rig.turn(130)

        rig.output.fire = timed  # type: ignore[method-assign]
        for i in range(rounds):
            taken["start"].append(bare.start_us())
            taken["write"].append(bare.write_us())
            power_mw = 4.0 + 8.0 * (i % 2)
            ask("power", power_mw, 5.0)
            ask("same", power_mw, 5.0)
            ask("shape", power_mw, 4.0)
            ask("back", power_mw, 5.0)
        begin = rig.output._pulse.begin
        for _ in range(rounds):
            rig.output._pulse.begin = lambda: None  # type: ignore[method-assign]
            ask("python", power_mw, 5.0)
            rig.output._pulse.begin = begin  # type: ignore[method-assign]
    ours, bare_start, bare_write = (np.array(taken[one][1:]) for one in ("same", "start", "write"))
    return {
        "rounds": rounds - 1,
        **{f"{one}_us": statistics.median(times[1:]) for one, times in taken.items()},
        "ratio": float(np.median(ours / bare_start)),
        "power_ratio": float(np.median(np.array(taken["power"][1:]) / (bare_start + bare_write))),
        "nidaqmx": nidaqmx.__version__,
    }


@pytest.mark.benchmark
def test_firing_costs_at_most_half_more_than_the_bare_calls() -> None:
    figures = measure()
    assert figures["ratio"] <= 1.5, figures
    assert figures["power_ratio"] <= 1.5, figures


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure()) + "\n")
