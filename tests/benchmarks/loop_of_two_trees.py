"""The loop of two trees of the program at full speed, in turns: frames a second and what a frame costs each process.

``python tests/benchmarks/loop_of_two_trees.py OLD NEW``, with ``git worktree add OLD COMMIT`` before. Both chains are
alive together, everything on, eight frames under way, frames not recorded; turns change places. A third word is the
interpreter of NEW, where that is to be another.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

N_TURNS, N_OF_TURN, N_BEFORE = 11, 900, 200
_ANSWER = "@"


class Tree:
    """One checkout, whose chain waits for its turns in a process of its own."""

    def __init__(self, folder: str, interpreter: str) -> None:
        self._process = subprocess.Popen(
            [interpreter, str(Path(__file__).resolve()), "--turns"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self) -> dict[str, float]:
        """Frames a second, and µs of processor a frame by process and together."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("turn\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(_ANSWER):
                return dict(json.loads(line[1:]))
        raise SystemExit("a chain has ended; what it said stands above")

    def close(self) -> None:
        """End the chain."""
        self._process.communicate()


def run_turns() -> None:
    """The process of a tree: a turn for every line that comes."""
    from loop_processor import processes, used_s

    from rt_engine.bench.loop.chain import ProductChain
    from rt_engine.bench.loop.chain_plan import ChainPlan
    from rt_engine.bench.loop.field import plant_loop
    from rt_engine.bench.loop.latency import N_AHEAD, N_CELLS, N_FRAMES, SEED, SIDE_PX

    planted = plant_loop(N_CELLS, SIDE_PX, N_FRAMES, SEED)
    with tempfile.TemporaryDirectory(prefix="spikeloop-trees-") as folder:
        plan = ChainPlan("tree", recorded=True, n_watchers=2, keeps_frames=False)
        chain = ProductChain(plan, planted, Path(folder) / "session")
        gc.disable()
        try:
            of = processes(chain)
            for _ in sys.stdin:
                chain.go_live()
                chain.run_stream(N_BEFORE, N_AHEAD)
                before, begin_s = used_s(of), time.perf_counter()
                chain.run_stream(N_OF_TURN, N_AHEAD)
                took_s, after = time.perf_counter() - begin_s, used_s(of)
                us = {name: float((after[name] - before[name]).sum()) / N_OF_TURN * 1e6 for name in of}
                told = {"frames a second": N_OF_TURN / took_s, "together": sum(us.values())} | us
                sys.stdout.write(f"{_ANSWER}{json.dumps(told)}\n")
                sys.stdout.flush()
                chain.pause()
        finally:
            chain.close()


def _table(turns: list[tuple[dict[str, float], dict[str, float]]]) -> list[str]:
    rows = [f"{'':16}{'old':>18}{'new':>18}{'new over old':>22}"]
    for name in turns[0][0]:
        old, new = (np.array([turn[i][name] for turn in turns]) for i in (0, 1))
        cells = [f"{np.median(one):.0f} ({one.min():.0f}-{one.max():.0f})" for one in (old, new)]
        ratio = new / old
        cells.append(f"{np.median(ratio):.2f} ({ratio.min():.2f}-{ratio.max():.2f})")
        rows.append(f"{name:16}{cells[0]:>18}{cells[1]:>18}{cells[2]:>22}")
    return rows


def main(arguments: list[str]) -> None:
    """Median and range of the turns, and the ratio within each pair; the first pair, in which all is warmed, is not."""
    if len(arguments) not in (2, 3) or not all(Path(one, "rt_engine").is_dir() for one in arguments[:2]):
        raise SystemExit(__doc__)
    interpreters: list[Any] = [sys.executable, *arguments[2:], sys.executable][:2]
    trees = [Tree(str(Path(one).resolve()), of) for one, of in zip(arguments[:2], interpreters, strict=True)]
    turns = []
    for number in range(N_TURNS + 1):
        order = (0, 1) if number % 2 else (1, 0)
        told = {i: trees[i].turn() for i in order}
        turns.append((told[0], told[1]))
    for tree in trees:
        tree.close()
    sys.stdout.write("\n".join(["µs of processor a frame:", *_table(turns[1:])]) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--turns"]:
        run_turns()
    else:
        main(sys.argv[1:])
