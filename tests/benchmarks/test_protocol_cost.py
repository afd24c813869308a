"""What a large protocol adds to the way from a decision to its command."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import numpy as np
import pytest
import zmq

from protocols.rois import RoiTable
from protocols.running.evaluator import ProtocolRun
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import Mode

N_CELLS, N_RULES, N_MESSAGES = 1000, 50, 1500


def table() -> RoiTable:
    """A thousand cells."""
    random = np.random.default_rng(0)
    return RoiTable(
        roi_id=np.arange(N_CELLS, dtype=np.uint32),
        centroid_yx_px=random.random((N_CELLS, 2)) * 512,
        expected_detection=random.random(N_CELLS).astype(np.float32),
        snr=random.random(N_CELLS).astype(np.float32),
    )


def config(n_rules: int, n_members: int) -> ProtocolConfig:
    """`n_rules` rules of every kind that events can make, each over a group of `n_members` cells, and each rare."""
    random = np.random.default_rng(1)
    expected = n_members * 0.5 * 0.1
    rare = round(expected + 5 * expected**0.5 + 2)
    likely = 1 - min(0.1, 2 / n_members)
    data: dict[str, Any] = {
        "schema_version": 2, "name": "large", "design": {"seed": 1}, "cells": {}, "signals": {}, "triggers": {},
        "actions": {"light": {"do": "pulse", "output": "led", "targets": "g0", "power_mw": 1.0, "width_ms": 1.0}},
        "phases": {"run": {"reactions": []}},
    }  # fmt: skip
    for i in range(n_rules):
        group, other = f"g{i}", f"g{(i + 1) % n_rules}"
        data["cells"][group] = {"select": "ids", "ids": random.permutation(N_CELLS)[:n_members].tolist()}
        data["signals"][f"r{i}"] = {"of": "rate", "cells": group, "window_ms": 1000.0}
        data["triggers"][f"t{i}"] = [
            {"when": "coincidence", "cells": group, "k": rare, "window_ms": 100.0},
            {"when": "sequence", "first": group, "then": other, "within_ms": 100.0, "min_probability": likely},
            {"when": "above", "signal": f"r{i}", "level": 5.0, "hold_ms": 200.0},
            {"when": "silence", "cells": group, "for_ms": 2000.0},
            {"when": "all", "of": [{"when": "event", "cells": group, "min_probability": likely},
                                   {"when": "below", "signal": f"r{i}", "level": 0.5}]},
        ][i % 5] | {"refractory_ms": 500.0}  # fmt: skip
        data["phases"]["run"]["reactions"].append({"trigger": f"t{i}", "do": ["light"]})
    return ProtocolConfig.model_validate(data)


def messages() -> list[tuple[int, Any]]:
    """30 Hz, half an event a second from each cell."""
    random = np.random.default_rng(2)
    out = []
    for frame in range(N_MESSAGES):
        t_ns = round(frame * 1e9 / 30)
        events = np.zeros(random.poisson(N_CELLS * 0.5 / 30), EVENT_DTYPE)
        events["roi_id"] = random.integers(0, N_CELLS, len(events))
        events["t_event_ns"] = t_ns - random.integers(0, 60_000_000, len(events))
        events["probability"], events["n_spikes"] = random.random(len(events)), 1.0
        out.append((t_ns, events))
    return out


def costs_us(run: ProtocolRun, stream: list[tuple[int, Any]]) -> Any:
    """Microseconds of every message."""
    out = np.empty(len(stream))
    for i, (t_ns, events) in enumerate(stream):
        start_ns = time.perf_counter_ns()
        run.on_spikes(i, t_ns, t_ns, Mode.LIVE, events)
        out[i] = (time.perf_counter_ns() - start_ns) / 1e3
    return out[100:]


def hops_us(n: int = 2000) -> Any:
    """Microseconds of a small message on its way between two sockets over TCP on this computer, nothing else done."""
    out = np.empty(n)
    with zmq.Context() as context, context.socket(zmq.PAIR) as near, context.socket(zmq.PAIR) as far:
        port = near.bind_to_random_port("tcp://127.0.0.1")
        far.connect(f"tcp://127.0.0.1:{port}")
        for i in range(n):
            start_ns = time.perf_counter_ns()
            near.send(bytes(200))
            far.recv()
            out[i] = (time.perf_counter_ns() - start_ns) / 1e3
    return out[100:]


@pytest.mark.benchmark
@pytest.mark.parametrize("n_members", [20, 200, 1000])
def test_fifty_rules_over_a_thousand_cells_add_little_to_the_bare_hop(n_members: int) -> None:
    stream = messages()
    large, bare, hops = [], [], []
    for _ in range(3):
        hops.append(hops_us())
        large.append(costs_us(ProtocolRun(config(N_RULES, n_members), table()), stream))
        bare.append(costs_us(ProtocolRun(config(1, n_members), table()), stream))
    p50, p99 = (float(np.median([np.percentile(one, q) for one in large])) for q in (50, 99))
    bare_p50, hop_p50 = (float(np.median([np.percentile(one, 50) for one in each])) for each in (bare, hops))
    figures = {
        "members": n_members, "p50_us": p50, "p99_us": p99, "one_rule_p50_us": bare_p50, "added_us": p50 - bare_p50,
        "ratio": p50 / bare_p50, "hop_p50_us": hop_p50, "added_to_hop": (p50 - bare_p50) / hop_p50,
    }  # fmt: skip
    print(json.dumps(figures))
    if path := os.environ.get("SPIKELOOP_BENCH_JSON"):
        with open(path, "a", encoding="utf-8") as stream_out:
            stream_out.write(json.dumps(figures) + "\n")
    assert p50 / bare_p50 < 12
