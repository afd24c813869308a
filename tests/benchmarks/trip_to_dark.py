"""How soon a stop is dark: from the command of another process until every output is dark, in the real service.

``PYTHONPATH=.:tests python tests/benchmarks/trip_to_dark.py [N]`` on a quiet machine; prints one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from stimulation_bench import StimulationBench

from rt_engine.safety.wal import RecordKind


def main(n: int) -> int:
    """Arm and stop `n` times while the engine sends 100 messages a second."""
    with tempfile.TemporaryDirectory() as folder:
        bench = StimulationBench(Path(folder))
        bench.start()
        bench.arm()
        for _ in range(n):
            bench.pump(0.02)
            bench.ask("trip", {"text": "measured", "t_asked_ns": bench.clock.now_ns()})
            bench.ask("reset", {"reason": "measured"})
            bench.pump(lambda: bench.ask("status")["can_arm"])
            bench.ask("arm", {"automatic": True})
        took = [r.fields["dark_after_ns"] / 1e6 for r in bench.wal() if r.kind is RecordKind.TRIP]
        bench.close()
    figures = {name: float(np.percentile(took, q)) for name, q in (("p50", 50), ("p99", 99), ("max", 100))}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    sys.stdout.write(json.dumps({"n": len(took), "asked_to_dark_ms": figures, "load_average": load}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
