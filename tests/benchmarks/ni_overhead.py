"""What our driver's firing call costs over the bare official one, round by round in one run.

``PYTHONPATH=.:tests python tests/benchmarks/ni_overhead.py``
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import nidaqmx
from ni_rig import ni_rig
from nidaqmx.constants import TaskMode

ROUNDS = 300


def main() -> None:
    """Medians of both, and their ratio."""
    with ni_rig(kind="counter", bounds={"max_energy_per_target_mj": 1e9, "max_total_energy_mj": 1e9}) as rig:
        ours_us, bare_us = [], []
        fire = rig.output.fire

        def timed(command):
            begun_ns = time.perf_counter_ns()
            t_command_ns = fire(command)
            ours_us.append((time.perf_counter_ns() - begun_ns) / 1e3)
            return t_command_ns

        rig.output.fire = timed
        rig.armed()
        bare = rig.output._card.task("bare")
        bare.co_channels.add_co_pulse_chan_time("Dev1/ctr1", initial_delay=1e-5, low_time=1e-5, high_time=5e-3)
        bare.control(TaskMode.TASK_COMMIT)
        for _ in range(ROUNDS):
            begun_ns = time.perf_counter_ns()
            bare.start()
            bare_us.append((time.perf_counter_ns() - begun_ns) / 1e3)
            bare.stop()
            rig.interlock.request(rig.request())
            rig.turn(300)
        rig.output._card.end(bare)
    ours_us, bare_us = ours_us[1:], bare_us[1:]
    figures = {
        "rounds": len(ours_us),
        "ours_us": statistics.median(ours_us),
        "bare_us": statistics.median(bare_us),
        "ratio": statistics.median(a / b for a, b in zip(ours_us, bare_us, strict=True)),
        "nidaqmx": nidaqmx.__version__,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
