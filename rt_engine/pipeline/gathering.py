"""Cells that were added one by one are gathered into one group, so that they cost a frame what they cost together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.pipeline.cell_group import USUAL_SHIFT_LINES, CellGroup

GATHERED_FROM = 4
"""So many groups of added cells become one: fewer are not worth the building."""
LEAD_FRAMES = 16
"""Groups are looked at so often; and what is to be gathered is built in so many frames before the change."""
_TABLES = ("tables", "calibration")
_PER_CELL = (
    "roi_id", "neuropil_coefficient", "neuropil_median_counts", "f0_counts", "sigma_dff", "tau_rise_s", "tau_s",
    "amplitude_dff", "rate_hz", "filter_gain", "threshold", "expected_detection", "quality", "neuropil_from_prior",
)  # fmt: skip


class Gathering:
    """Watches the groups of added cells of an engine.

    Parameters
    ----------
    ends : int64 ndarray, shape (n_strips,)
        Line after the last of every strip: only cells that are decided with the same strip are gathered.
    max_shift_px : float

    Notes
    -----
    When groups are gathered depends on frames alone, so a replay does it at the same frame; and the cells go on from
    the state they had, to the same bits.
    """

    def __init__(self, ends: NDArray[np.int64], max_shift_px: float) -> None:
        self._ends = ends
        self._max_shift_px = max_shift_px
        self._parts: list[CellGroup] = []
        self._built: CellGroup | None = None
        self._frame = 0

    def build(self) -> None:
        """Build what is due to be built; call between two frames, when the last one's decisions are out."""
        if self._parts and self._built is None:
            self._built = gathered_group(self._parts, self._max_shift_px)

    def swap(self, groups: list[CellGroup], frame_number: int) -> None:
        """Called when a frame begins: plan what to gather, or make the change that was planned, in place.

        Parameters
        ----------
        groups : list of CellGroup
            Of the engine, by the last line that they need.
        frame_number : int
        """
        if frame_number < self._frame:
            return
        if not self._parts:
            self._parts = self._worth_gathering(groups)
            self._frame = frame_number + LEAD_FRAMES
            return
        if len({(part.n_missing, part.traces.memory) for part in self._parts}) > 1:
            # A strip that is missing has been felt by some of them and not by others: later.
            self._frame = frame_number + LEAD_FRAMES
            return
        self.build()
        group, parts = self._built, self._parts
        self._built, self._parts = None, []
        if group is None:
            return
        group.adopt(parts)
        for part in parts:
            groups.remove(part)
        needed = [one.last_line_needed for one in groups]
        groups.insert(bisect_right(needed, group.last_line_needed) if len(self._ends) > 1 else len(groups), group)

    def _worth_gathering(self, groups: Sequence[CellGroup]) -> list[CellGroup]:
        alike: dict[tuple[int, bool, bytes], list[CellGroup]] = {}
        for group in groups:
            if group.added is None or not group.traces.is_settled or not can_be_gathered(group.added):
                continue
            strip = int(np.searchsorted(self._ends, group.last_line_needed + USUAL_SHIFT_LINES, side="right"))
            kind = min(strip, len(self._ends) - 1), group.traces.provisional, tables_of(group.added)
            alike.setdefault(kind, []).append(group)
        return next((found for found in alike.values() if len(found) >= GATHERED_FROM), [])


def can_be_gathered(cells: Calibration) -> bool:
    """True for cells that share no light with others and are decided by the drive, as all are that a finder offers."""
    return cells.drive is not None and len(cells.background_loading) == 0 and len(cells.roi_weight) == 0


def tables_of(cells: Calibration) -> bytes:
    """What the cells of one group share of the decision, to compare."""
    return b"" if cells.drive is None else b"".join(getattr(cells.drive, name).tobytes() for name in _TABLES)


def gathered_group(parts: Sequence[CellGroup], max_shift_px: float) -> CellGroup:
    """One group, warm, of the cells of several; it takes over their state by `CellGroup.adopt`."""
    cells = joined_cells([part.added for part in parts if part.added is not None])
    group = CellGroup(cells, np.arange(cells.n_rois), max_shift_px, first_row=0)
    group.stand_at(np.concatenate([part.rows for part in parts]))
    group.warm_up(np.zeros((cells.n_lines, cells.pixels_per_line), np.uint16))
    return group


def joined_cells(parts: Sequence[Calibration]) -> Calibration:
    """Cells of several calibrations of one field, as far as the engine reads them, one after the other."""
    changes: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _PER_CELL} | {
        "filter_taps": np.concatenate([part.filter_taps for part in parts], axis=1)
    }
    for kind in ("roi", "neuropil"):
        sizes = [np.diff(getattr(part, f"{kind}_start")) for part in parts]
        changes[f"{kind}_start"] = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
        changes[f"{kind}_pixels"] = np.concatenate([getattr(part, f"{kind}_pixels") for part in parts])
    drives = [part.drive for part in parts if part.drive is not None]
    return replace(
        parts[0], **changes, drive=_joined_drives(drives), uncertainty=None, threshold_law=None,
        quality_numbers=np.zeros((0, 5), np.float32), neuropil_coefficient_se=np.zeros(0, np.float32),
    )  # fmt: skip


def _joined_drives(drives: Sequence[DriveConstants]) -> DriveConstants:
    return replace(
        drives[0],
        **{
            field.name: np.concatenate([getattr(drive, field.name) for drive in drives])
            for field in fields(DriveConstants)
            if field.name not in _TABLES
        },
    )
