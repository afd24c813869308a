"""The cells of all planes as one table, from the `rois` messages of every engine."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from protocols.rois import RoiTable
from rt_engine.interfaces.messages import RoisHeader

_VALUES = ("amplitude", "tau_s", "quality", "threshold")
"""What a `rois` message tells of a cell beyond the fields of the table."""


class CellsOfPlanes:
    """Keeps what every plane has told last.

    Parameters
    ----------
    planes : iterable of int
        Planes of the rig; messages of others are passed over.
    """

    def __init__(self, planes: Iterable[int]) -> None:
        self._tables: dict[int, RoiTable | None] = dict.fromkeys(planes)

    def take(self, header: RoisHeader, payload: bytes) -> bool:
        """Learn the cells of one plane from a message with footprints; False if payload and header do not fit."""
        if not _fits(header, payload):
            return False
        if header.plane in self._tables:
            self._tables[header.plane] = table_of(header, payload, self._tables[header.plane])
        return True

    def table(self) -> RoiTable | None:
        """The cells of all planes in the order of the planes; None until every plane has told its own."""
        tables = [table for table in self._tables.values() if table is not None]
        if len(tables) < len(self._tables):
            return None
        tags: dict[str, tuple[int, ...]] = {}
        for table in tables:
            for tag, ids in table.tags.items():
                tags[tag] = (*tags.get(tag, ()), *ids)
        return RoiTable(
            roi_id=np.concatenate([table.roi_id for table in tables]),
            centroid_yx_px=np.concatenate([table.centroid_yx_px for table in tables]),
            expected_detection=np.concatenate([table.expected_detection for table in tables]),
            snr=np.concatenate([table.snr for table in tables]),
            tags=tags,
            values={name: np.concatenate([table.values[name] for table in tables]) for name in _VALUES},
            planes=np.concatenate([table.planes for table in tables]),
            removed=frozenset().union(*(table.removed for table in tables)),
        )


def _fits(header: RoisHeader, payload: bytes) -> bool:
    """True if the payload holds at least one pixel for every cell that is there, and nothing else."""
    start = header.footprint_start
    if (
        len(start) != len(header.rois) + 1
        or start[0] != 0
        or len(payload) != 4 * start[-1]
        or header.pixels_per_line < 1
    ):
        return False
    pieces = zip(header.rois, pairwise(start), strict=True)
    return all(begin < end or (begin == end and roi.kind == "removed") for roi, (begin, end) in pieces)


def table_of(header: RoisHeader, payload: bytes, before: RoiTable | None = None) -> RoiTable:
    """The cells of one plane; those that were taken out have no footprint, and stay where they were `before`."""
    pixels = np.frombuffer(payload, "<u4")
    start = header.footprint_start
    centroids = np.full((len(header.rois), 2), np.nan)
    removed = frozenset(roi.roi_id for roi in header.rois if roi.kind == "removed")
    for index, roi in enumerate(header.rois):
        flat = pixels[start[index] : start[index + 1]]
        if roi.roi_id in removed:
            if before is not None and roi.roi_id in before.roi_id:
                centroids[index] = before.positions((roi.roi_id,))[0]
            continue
        centroids[index] = (flat // header.pixels_per_line).mean(), (flat % header.pixels_per_line).mean()
    tagged: dict[str, tuple[int, ...]] = {}
    for roi in header.rois:
        for tag in roi.tags:
            tagged[tag] = (*tagged.get(tag, ()), roi.roi_id)
    return RoiTable(
        roi_id=np.array([roi.roi_id for roi in header.rois], np.uint32),
        centroid_yx_px=centroids,
        expected_detection=np.array([roi.expected_detection for roi in header.rois], np.float32),
        snr=np.array([roi.snr for roi in header.rois], np.float32),
        tags=tagged,
        values={name: np.array([getattr(roi, name) for roi in header.rois], np.float32) for name in _VALUES},
        planes=np.full(len(header.rois), header.plane, np.int64),
        removed=removed,
    )
