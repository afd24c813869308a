"""From the responses of every cell in every trial to an influence or an excitability map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from protocols.effects.excitability import fit_curve
from protocols.effects.influence import influence_map
from protocols.rois import RoiTable
from protocols.running.lights import Stimulus
from protocols.running.trials import MapMeter, TrialStatus, TrialTable
from protocols.schema.design import MapKind
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.errors import ConfigError

_BINS_UM = (0.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0)
_LISTED = 200


def conclude_map(
    meter: MapMeter, table: TrialTable, config: ProtocolConfig, rois: RoiTable, sites: Sequence[Stimulus]
) -> dict[str, Any]:
    """The map of a session, as ``summary.json`` holds it.

    Parameters
    ----------
    meter : MapMeter
    table : TrialTable
    config : ProtocolConfig
    rois : RoiTable
    sites : sequence of Stimulus
        Every stimulus of a `one_of`, with the site it belongs to.

    Returns
    -------
    dict
        `kind`, and for excitability `cells` by `roi_id`; for influence counts, means by distance, and the strongest
        pairs with a q below the false discovery rate.
    """
    trials = np.flatnonzero(table.status[: table.n] == TrialStatus.COMPLETE)
    trials = trials[np.isfinite(meter.response[trials]).any(axis=1)]
    if meter.config.kind is MapKind.EXCITABILITY:
        return {"kind": meter.config.kind.value, "cells": _excitability(meter, table, rois, trials)}
    return {"kind": meter.config.kind.value, **_influence(meter, table, config, rois, trials, sites)}


def _excitability(
    meter: MapMeter, table: TrialTable, rois: RoiTable, trials: np.ndarray[Any, np.dtype[np.int64]]
) -> dict[str, dict[str, Any]]:
    row_of = {int(roi): row for row, roi in enumerate(rois.roi_id)}
    cells: dict[str, dict[str, Any]] = {}
    for target in np.unique(table.first_target[trials]).tolist():
        if target not in row_of:
            continue
        own = trials[table.first_target[trials] == target]
        response = meter.response[own, row_of[target]].astype(np.float64)
        cells[str(target)] = fit_curve(table.power_mw[own], response)
    return cells


def _influence(
    meter: MapMeter,
    table: TrialTable,
    config: ProtocolConfig,
    rois: RoiTable,
    trials: np.ndarray[Any, np.dtype[np.int64]],
    sites: Sequence[Stimulus],
) -> dict[str, Any]:
    if rois.um_per_px is None:
        raise ConfigError("the pixel size is unknown", "set um_per_px of the microscope", key="design.map.exclude_um")
    first = {one.site: one for one in sites}
    ordered = [first[site] for site in sorted(first)]
    yx_px = np.array([one.yx_px[0] for one in ordered])
    is_control = np.array([one.pattern_id is not None for one in ordered])
    distance_um = rois.um_per_px * np.hypot(*(yx_px[:, None, :] - rois.centroid_yx_px[None, :, :]).transpose(2, 0, 1))
    used = trials[table.site[trials] >= 0]
    enough = {int(s) for s in np.unique(table.site[used])}
    n_control = int(np.count_nonzero(is_control[table.site[used]])) if len(used) else 0
    if n_control < 3 or not enough - set(np.flatnonzero(is_control).tolist()):
        return {"n_trials": len(used), "n_control_trials": n_control, "n_pairs": 0, "pairs": []}
    found = influence_map(
        meter.response[used],
        table.site[used],
        is_control,
        distance_um,
        meter.config.exclude_um,
        config.design.seed,
    )
    return {
        "n_trials": len(used),
        "n_control_trials": n_control,
        "n_pairs": len(found.p),
        "n_significant": int(np.count_nonzero(found.q <= meter.config.false_discovery_rate)),
        "false_discovery_rate": meter.config.false_discovery_rate,
        "by_distance": [
            {
                "from_um": low,
                "to_um": high,
                "n": int(np.count_nonzero(inside)),
                "influence": float(found.influence[inside].mean()),
            }
            for low, high in pairwise(_BINS_UM)
            if (inside := (found.distance_um >= low) & (found.distance_um < high)).any()
        ],
        "pairs": [
            {
                "target": int(ordered[found.target[i]].target_ids[0]),
                "cell": int(rois.roi_id[found.cell[i]]),
                "influence": float(found.influence[i]),
                "p": float(found.p[i]),
                "q": float(found.q[i]),
                "distance_um": float(found.distance_um[i]),
            }
            for i in np.argsort(found.p, kind="stable")[:_LISTED]
            if found.q[i] <= meter.config.false_discovery_rate
        ],
    }
