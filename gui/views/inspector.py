"""All that is known of one cell."""

from __future__ import annotations

import math

import numpy as np

from gui.desk import Desk
from gui.model.cells import Cells
from gui.model.traces import Traces
from gui.numbers import NONE, fixed, number, percent
from gui.palette import Tone
from gui.widgets.card import Card
from gui.widgets.tile_grid import TileGrid

_JUST_NOW = 40
"""Samples among which the newest probability is: it is known only after the hold."""


class Inspector(Card):
    """Figures of the cell that was selected last."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Cell")
        self._desk = desk
        captions = {
            "snr": "SNR (A/σ)",
            "tau_s": "decay τ (s)",
            "amplitude": "amplitude (ΔF/F)",
            "expected_detection": "detection expected",
            "false_alarms": "false alarms (1/h)",
            "neuropil_coefficient": "neuropil coeff.",
            "floor_hits": "floor_hits",
            "valid": "valid samples",
            "probability": "P(spike) now",
            "threshold": "threshold (z)",
        }
        self.tiles = TileGrid(captions, 5)
        self.body.addWidget(self.tiles)

    def refresh(self) -> None:
        """Show the newest figures."""
        model, desk = self._desk.model, self._desk
        cells, traces = model.cells.get(desk.plane), model.traces.get(desk.plane)
        roi_id = desk.selection[-1] if desk.selection else None
        row = cells.row_of.get(roi_id) if cells is not None and roi_id is not None else None
        if cells is None or row is None:
            self.title.setText("Cell: none selected — click one in the field")
            for tile in self.tiles.tiles.values():
                tile.say(NONE)
            return
        tags = f"  ·  {', '.join(cells.tags[row])}" if cells.tags[row] else ""
        self.title.setText(f"Cell {roi_id}{tags}")
        self._calibrated(cells, row)
        self._live(traces, row)

    def _calibrated(self, cells: Cells, row: int) -> None:
        figures = {name: float(values[row]) for name, values in cells.figures.items()}
        for name in ("snr", "amplitude", "threshold"):
            self.tiles[name].say(fixed(figures[name], 2))
        self.tiles["tau_s"].say(fixed(figures["tau_s"], 2))
        self.tiles["expected_detection"].say(percent(figures["expected_detection"]))
        self.tiles["false_alarms"].say(number(_false_alarms_per_h(self._desk), 3))
        self.tiles["neuropil_coefficient"].say(fixed(figures["neuropil_coefficient"], 2))
        hits = figures["floor_hits"]
        tone = Tone.WARNING if hits > 0 else Tone.NEUTRAL
        self.tiles["floor_hits"].say(number(int(hits)) if math.isfinite(hits) else NONE, tone)

    def _live(self, traces: Traces | None, row: int) -> None:
        if traces is None or row >= traces.n_rois:
            return
        past = traces.window("probability", np.array([row]), _JUST_NOW)[:, 0]
        known = past[np.isfinite(past)]
        self.tiles["probability"].say(fixed(float(known[-1]), 2) if len(known) else NONE)
        self.tiles["valid"].say(percent(float(traces.valid_fraction[row])))


def _false_alarms_per_h(desk: Desk) -> float:
    """Nominal rate of false events of a cell, from the session's config; NaN if it does not say."""
    session = desk.model.session
    rig = session.config.get("rig") if session else None
    inference = rig.get("inference") if isinstance(rig, dict) else None
    value = inference.get("false_alarms_per_min") if isinstance(inference, dict) else None
    return 60.0 * value if isinstance(value, int | float) and math.isfinite(value) else math.nan
