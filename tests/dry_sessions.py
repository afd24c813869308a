"""Many short sessions on the traces of a small virtual rig, and what is concluded from each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_1samp

from protocols.effects.contrast import Contrast, estimate
from protocols.effects.e_value import capital
from protocols.references import check_references
from protocols.running.trials import TrialStatus
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.rig_config import RigConfig, load_rig
from rt_engine.services.dry_look import DryLook, dry_look

ROOT = Path(__file__).parents[1]
SECONDS = 60.0


def small_traces(seed: int, **opsin: Any) -> RigConfig:
    """The shipped virtual rig with 16 cells on 128 x 128 pixels at 15 Hz."""
    rig = load_rig(ROOT / "hardware_configs" / "virtual_rig.yaml")
    sample = rig.microscope.sample
    cells = sample.model_copy(update={"seed": seed, "n_cells": 16, "opsin": sample.opsin.model_copy(update=opsin)})
    microscope = rig.microscope.model_copy(
        update={"frame_rate_hz": 15.0, "n_lines": 128, "pixels_per_line": 128, "sample": cells}
    )
    return rig.model_copy(update={"microscope": microscope})


def self_triggered(seed: int, block_size: int | None) -> ProtocolConfig:
    """Events of six cells light the same six cells: what is measured is what was selected for being extreme."""
    arms = {name: {"kind": name, "share": 0.5} for name in ("stim", "withheld")}
    config = ProtocolConfig.model_validate(
        {
            "schema_version": 2, "name": "self_triggered", "cells": {"a": {"select": "best", "n": 6}},
            "signals": {"x": {"of": "activity", "cells": "a"}},
            "triggers": {"t": {"when": "event", "cells": "a", "refractory_ms": 700.0}},
            "actions": {"light": {"do": "pulse", "output": "led", "targets": "a", "power_mw": 8.0, "width_ms": 5.0}},
            "phases": {"run": {"reactions": [{"trigger": "t", "do": ["light"], "trial": True}]}},
            "design": {"seed": seed, "arms": arms, "block_size": block_size, "response": {
                "signal": "x", "from_ms": 60.0, "to_ms": 300.0, "minus_before_ms": 200.0}},
        }
    )  # fmt: skip
    check_references(config)
    return config


def session(seed: int, **opsin: Any) -> tuple[DryLook, int | None]:
    """One session; every second one is randomised in blocks."""
    block_size = 8 if seed % 2 else None
    return dry_look(self_triggered(seed, block_size), small_traces(1000 + seed, **opsin), SECONDS), block_size


def contrast(look: DryLook) -> Contrast:
    """Complete trials of a session."""
    trials = look.effects["trials"]
    keep = np.array([status == TrialStatus.COMPLETE.name.lower() for status in trials["status"]], bool)
    arm = np.array([0 if name == "stim" else 1 for name in trials["arm"]], np.int64)
    response = np.array([np.nan if y is None else y for y in trials["response"]])
    return Contrast(np.flatnonzero(keep), arm[keep], arm[keep] == 0, response[keep], np.full(keep.sum(), 0.5), 0.5)


def looks_until_the_end(one: Contrast, block_size: int | None) -> list[dict[str, float]]:
    """The running effect after every fourth trial."""
    told = []
    for k in range(12, len(one.response) + 1, 4):
        part = Contrast(one.draw[:k], one.arm[:k], one.is_treated[:k], one.response[:k], one.probability[:k], one.share)
        told.append(estimate(part, block_size, 0.05))
    return told


def largest_e_value(one: Contrast) -> float:
    """Most that a bet with even coins had at any time; of use for trials drawn one by one."""
    return float(capital(one.is_treated, one.response, one.probability).max())


def naive_p(one: Contrast) -> float:
    """Before against after in the lit trials alone: Student's paired test of the response minus what was before."""
    return float(ttest_1samp(one.response[one.is_treated], 0.0).pvalue)
