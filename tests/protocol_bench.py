"""A protocol without a rig: a table of cells, events by hand, and messages at 30 Hz."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.load import find_protocol, load_protocol
from protocols.references import check_references
from protocols.rois import RoiTable
from protocols.running.evaluator import ProtocolRun
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import Mode
from rt_engine.interfaces.stimulation import PulseRequest

MS = 1_000_000
S = 1_000_000_000
LIGHT = {"do": "pulse", "output": "led", "targets": "b", "power_mw": 8.0, "width_ms": 5.0}


def table(n: int = 20) -> RoiTable:
    """Cell 100 + i is the i-th best: detection falls in pairs, within a pair the SNR decides."""
    i = np.arange(n)
    order = np.random.default_rng(3).permutation(n)
    return RoiTable(
        roi_id=(100 + i).astype(np.uint32)[order],
        centroid_yx_px=np.stack([i * 10.0, i * 3.0], axis=1)[order],
        expected_detection=(1 - i // 2 * 2 / 100).astype(np.float32)[order],
        snr=(50 - i).astype(np.float32)[order],
        tags={"interneuron": (103, 104)},
        values={"tau_s": np.linspace(0.1, 0.5, n, dtype=np.float32)[order]},
        um_per_px=0.8,
    )


def events(*rows: tuple[int, int], probability: float = 0.9, n_spikes: float = 1.0) -> Any:
    """Events (roi_id, t_event_ns)."""
    out = np.zeros(len(rows), EVENT_DTYPE)
    for i, (roi, t_ns) in enumerate(rows):
        out[i]["roi_id"], out[i]["t_event_ns"] = roi, t_ns
        out[i]["probability"], out[i]["n_spikes"] = probability, n_spikes
    return out


def protocol(**sections: Any) -> ProtocolConfig:
    """A protocol whose sections replace those of a small one: events of `a` (the ten best) light `b` (five)."""
    data: dict[str, Any] = {
        "schema_version": 2,
        "name": "test",
        "cells": {"a": {"select": "best", "n": 10}, "b": {"select": "best", "n": 5, "but_not": ["a"]}},
        "triggers": {"t": {"when": "event", "cells": "a"}},
        "actions": {"light": {"do": "pulse", "output": "led", "targets": "b", "power_mw": 8.0, "width_ms": 5.0}},
        "phases": {"run": {"reactions": [{"trigger": "t", "do": ["light"]}]}},
        "design": {"seed": 1},
    }
    config = ProtocolConfig.model_validate(data | sections)
    check_references(config)
    return config


def shipped(name: str, **design: Any) -> ProtocolConfig:
    """A protocol of the library with keys of its design changed."""
    config = load_protocol(find_protocol(name))
    return config.model_copy(update={"design": config.design.model_copy(update=design)})


def feed(rule: ProtocolRun, stream: Any, frame: int = 0) -> list[Any]:
    """Commands that follow from messages (t_scan_ns, events)."""
    found: list[Any] = []
    for index, (t_ns, one) in enumerate(stream):
        found += rule.on_spikes(frame + index, t_ns, t_ns + MS, Mode.LIVE, one)
    return found


def random_stream(n: int = 400, seed: int = 0, gap_ms: int = 700) -> list[tuple[int, Any]]:
    """Messages at random times with 0 to 3 events each."""
    random = np.random.default_rng(seed)
    t_ns, stream = 0, []
    for _ in range(n):
        t_ns += int(random.integers(1, 2 * gap_ms)) * MS
        rows = [
            (int(random.integers(100, 120)), t_ns - int(random.integers(0, 90)) * MS)
            for _ in range(random.integers(0, 4))
        ]
        stream.append((t_ns, events(*rows)))
    return stream


def ticks(until_s: float, happenings: dict[int, tuple[int, ...]] | None = None, rate_hz: float = 30.0) -> Any:
    """Messages at a frame rate; `happenings` gives the cells with an event by frame."""
    happenings = happenings or {}
    for frame in range(round(until_s * rate_hz)):
        t_ns = round(frame * S / rate_hz)
        yield t_ns, events(*((roi, t_ns) for roi in happenings.get(frame, ())))


def light(found: list[Any]) -> list[PulseRequest]:
    """Requests that are not suppressed."""
    return [one for one in found if isinstance(one, PulseRequest) and one.suppressed is None]


def frames_of(found: list[Any]) -> list[int]:
    """Frame of every command."""
    return [one.frame for one in found]
