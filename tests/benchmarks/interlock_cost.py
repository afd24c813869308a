"""What the interlock costs a decision: CPU time of one request, by outcome, with a real log and ledger on the disk.

``PYTHONPATH=.:tests python tests/benchmarks/interlock_cost.py``; prints one JSON line.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safety_rig import MS, Rig

from drivers.outputs.virtual import VirtualOutput
from rt_engine.safety.wal import WriteAheadLog

N = 3000


def cost_us(rig: Rig, step_ns: int, **changes: object) -> tuple[float, float]:
    """Median and 99th percentile of the CPU time of one request, microseconds."""
    took = np.empty(N)
    for index in range(N):
        rig.clock.step(step_ns)
        rig.beat()
        request = rig.request(**changes)
        begin_ns = time.thread_time_ns()
        rig.interlock.request(request)
        took[index] = time.thread_time_ns() - begin_ns
    return float(np.median(took)) / 1e3, float(np.percentile(took, 99)) / 1e3


def main() -> int:
    """Print one JSON line."""
    figures = {}
    targets = tuple((10.0 + 20 * i, 30.0) for i in range(5))
    for name, step_ns, changes in (
        ("delivered, 1 target", 150 * MS, {}),
        ("delivered, 5 targets", 150 * MS, {"targets_yx_px": targets}),
        ("withheld, 5 targets", 150 * MS, {"targets_yx_px": targets, "withheld": True}),
        ("refused by the gap", MS // 10, {"targets_yx_px": targets}),
        ("refused by the power", 150 * MS, {"power_mw": 30.0}),
    ):
        with tempfile.TemporaryDirectory() as folder:
            rig = Rig(folder=Path(folder), capacity=16_384, max_total_energy_mj=1e9, max_energy_per_target_mj=1e6)
            log = WriteAheadLog(Path(folder) / "stim_000.wal")
            rig.interlock._wal = log
            output = VirtualOutput("led", rig.clock, lambda light: None, watchdog_ms=1e9)
            rig.interlock._outputs["led"] = output
            rig.armed()
            figures[name] = cost_us(rig, step_ns, **changes)
            log.close()
    sys.stdout.write(json.dumps({name: {"p50_us": p50, "p99_us": p99} for name, (p50, p99) in figures.items()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
