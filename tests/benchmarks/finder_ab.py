"""Does the search for new cells delay the loop? Two loops take turns in one run, one with a finder, one without.

    python tests/benchmarks/finder_ab.py --rounds 3

512 x 512, 1,000 cells, real processes. Frames come at twice the usual rate, so that every turn holds about one search
(they come every 900 frames). `scan_to_arrival` ends when the decision has reached another process. Told are all rounds,
the ratios within each, and what the finder did. Where others use the machine, a finder of low priority hardly runs:
with ``--urgent`` it has the priority of the loop.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from rt_engine.bench.kernels import machine
from rt_engine.bench.loop.chain import ProductChain
from rt_engine.bench.loop.chain_plan import ChainPlan
from rt_engine.bench.loop.field import plant_loop
from rt_engine.bench.loop.intervals import Intervals

RATE_HZ, N_FRAMES = 60.0, 1000
PERCENTILES = {"p50": 50, "p99": 99, "max": 100}
NAMES = ("scan_to_receive", "receive_to_decision", "scan_to_arrival")


def turn(chain: ProductChain) -> Intervals:
    """One round of a loop; the other stands still meanwhile."""
    chain.go_live()
    try:
        return chain.run(N_FRAMES, RATE_HZ)
    finally:
        chain.pause()


def figures(times: Intervals) -> dict[str, float]:
    """Milliseconds."""
    return {
        f"{name}_{p}": round(float(np.percentile(getattr(times, name), q)) / 1e6, 3)
        for name in NAMES
        for p, q in PERCENTILES.items()
    }


def finder_seconds(chain: ProductChain) -> float:
    """Processor time of the finder so far."""
    return sum(sum(child.cpu_times()[:2]) for child in finders(chain))


def finders(chain: ProductChain) -> list[psutil.Process]:
    """Processes that inference has started."""
    return psutil.Process(chain.pids()["inference"]).children(recursive=True)


def main() -> None:
    """Take turns, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--urgent", action="store_true", help="the finder gets the priority of the loop, not a low one")
    arguments = parser.parse_args()
    planted = plant_loop(1000, 512, 240, 1)
    told: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory(prefix="spikeloop-bench-") as scratch:
        chains = {
            name: ProductChain(
                ChainPlan(name, awaits_decision=True, searches=name == "with"), planted, Path(scratch) / name
            )
            for name in told
        }
        try:
            for child in finders(chains["with"]) if arguments.urgent else ():
                child.nice(psutil.Process().nice())
            for number in range(arguments.rounds):
                before_s = finder_seconds(chains["with"])
                for name in sorted(chains, reverse=bool(number % 2)):
                    told[name].append(figures(turn(chains[name])))
                told["with"][-1]["finder_cpu_s"] = round(finder_seconds(chains["with"]) - before_s, 2)
            losses = {name: chain.losses() for name, chain in chains.items()}
        finally:
            for chain in chains.values():
                chain.close()
    out: dict[str, Any] = {"machine": machine(), "rounds": told, "losses": losses, "ratios": {}}
    for key in told["without"][0]:
        ratios = [a[key] / b[key] for a, b in zip(told["with"], told["without"], strict=True)]
        out["ratios"][key] = [round(float(f(ratios)), 3) for f in (np.median, np.min, np.max)]
    sys.stdout.write(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
