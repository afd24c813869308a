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


def small_traces(seed: int, indicator: str = "jGCaMP8m", **opsin: Any) -> RigConfig:
    """The shipped virtual rig with 16 cells on 128 x 128 pixels at 15 Hz."""
    rig = load_rig(ROOT / "hardware_configs" / "virtual_rig.yaml")
    sample = rig.microscope.sample
    changes = {"seed": seed, "n_cells": 16, "indicator": indicator}
    cells = sample.model_copy(update={**changes, "opsin": sample.opsin.model_copy(update=opsin)})
    microscope = rig.microscope.model_copy(
        update={"frame_rate_hz": 15.0, "n_lines": 128, "pixels_per_line": 128, "sample": cells}
    )
    inference = rig.inference.model_copy(update={"indicator": indicator})
    return rig.model_copy(update={"microscope": microscope, "inference": inference})


def self_triggered(seed: int, block_size: int | None, kinds: tuple[str, ...] = ("stim", "withheld")) -> ProtocolConfig:
    """Events of six cells light the same six cells: what is measured is what was selected for being extreme."""
    arms = {name: {"kind": name, "share": 1 / len(kinds)} for name in kinds}
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


def session(seed: int, **sample: Any) -> tuple[DryLook, int | None]:
    """One session; every second one is randomised in blocks. `sample` as in `small_traces`."""
    block_size = 8 if seed % 2 else None
    return dry_look(self_triggered(seed, block_size), small_traces(1000 + seed, **sample), SECONDS), block_size


def mean_response(kind: str, seed: int) -> float:
    """Mean response of a session in which every trigger meets the same fate, `stim` or `withheld`; NaN without one."""
    look = dry_look(self_triggered(seed, None, (kind,)), small_traces(seed), SECONDS)
    trials = look.effects["trials"]
    complete = [y for y, status in zip(trials["response"], trials["status"], strict=True) if status == "complete"]
    return float(np.mean(complete)) if complete else float("nan")


def planted_effect(n: int) -> tuple[float, float]:
    """What light does at eligible moments, and its standard error, without any estimator of ours.

    Mean response where every trigger is lit minus that where none is, over `n` sessions of each, on seeds that nothing
    else uses. Trials are 700 ms apart and the response of the indicator is over by then, so it makes no difference
    that the other triggers of the session are lit too.
    """
    lit = np.array([mean_response("stim", 50_000 + i) for i in range(n)])
    unlit = np.array([mean_response("withheld", 60_000 + i) for i in range(n)])
    squares = [np.nanvar(one, ddof=1) / np.count_nonzero(np.isfinite(one)) for one in (lit, unlit)]
    return float(np.nanmean(lit) - np.nanmean(unlit)), float(np.sqrt(sum(squares)))


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
