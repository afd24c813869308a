"""Rig, protocol and ports of the loop under measurement."""

from __future__ import annotations

from typing import Any

from rt_engine.bench.loop.field import INDICATOR, N_TRIGGERING, RATE_HZ
from rt_engine.interfaces.service_config import FrameWay, SchedulingConfig


def bench_rig(
    side_px: int,
    ports: dict[str, int],
    keeps_frames: bool,
    searches: bool = False,
    scheduling: SchedulingConfig | None = None,
    frames_by: FrameWay = FrameWay.SHARED_MEMORY,
    network: str | None = None,
) -> dict[str, Any]:
    """Everything allowed, nothing real: the output is virtual, so its limits protect nobody."""
    limits = {
        "max_power_mw": 1.0,
        "max_width_ms": 0.01,
        "max_rate_hz": 10_000.0,
        "max_duty": 1.0,
        "duty_window_s": 1.0,
        "max_energy_per_target_mj": 1e6,
        "energy_window_s": 1.0,
        "max_total_energy_mj": 1e9,
        "min_gap_ms": 0.0,
        "target_refractory_ms": 0.0,
        "max_refused_per_min": 100_000,
        "allowed_phases": ["live"],
        "max_decision_age_ms": 10_000.0,
        "exclusion_zones": [],
    }
    return {
        "schema_version": 1,
        "name": "bench",
        "microscope": {
            "driver": "virtual",
            "frame_rate_hz": RATE_HZ,
            "n_lines": side_px,
            "pixels_per_line": side_px,
        },
        "inference": {
            "indicator": INDICATOR,
            "new_cells": "offer" if searches else "off",
            "frames_by": frames_by.value,
            "network": network,
        },
        "outputs": {"led": {"driver": "virtual", "watchdog_ms": 60_000.0, "limits": limits}},
        "session_limits": {"max_energy_mj": 1e9, "max_pulses": 1_000_000_000},
        "recording": {"frames": "all" if keeps_frames else "none", "min_free_mb": 2000.0},
        "ports": ports,
        "scheduling": (scheduling or SchedulingConfig()).model_dump(mode="json"),
        "max_idle_s": 3600.0,
    }


PROTOCOL = {
    "schema_version": 2,
    "name": "bench",
    "cells": {
        "watched": {"select": "ids", "ids": list(range(N_TRIGGERING))},
        "lit": {"select": "ids", "ids": [0]},
    },
    "triggers": {"spike": {"when": "event", "cells": "watched", "refractory_ms": 0.0}},
    "actions": {"pulse": {"do": "pulse", "output": "led", "targets": "lit", "power_mw": 1.0, "width_ms": 0.001}},
    "phases": {"watch": {"reactions": [{"trigger": "spike", "do": ["pulse"], "trial": True}]}},
    "design": {"seed": 1, "arms": {"stim": {"kind": "stim", "share": 1.0}}},
}
