"""What a protocol knows about the cells, and how a selection becomes a list of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.schema import AllCells, BestCells, CellsById, CellsByTag, CellSelection
from rt_engine.interfaces.errors import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class RoiTable:
    """The cells of a session, of all its planes.

    Attributes
    ----------
    roi_id : uint32 ndarray, shape (n_rois,)
        Identities, unique.
    centroid_yx_px : float64 ndarray, shape (n_rois, 2), template px
    expected_detection : float32 ndarray, shape (n_rois,)
        Probability that an isolated spike is detected; NaN if unknown.
    snr : float32 ndarray, shape (n_rois,)
        dF/F of one spike in noise SD.
    tags : dict of str to tuple of int
        Tag to the `roi_id` that carry it.
    planes : int64 ndarray, shape (n_rois,)
        Plane of every cell; empty where all are in plane 0.
    """

    roi_id: NDArray[np.uint32]
    centroid_yx_px: NDArray[np.float64]
    expected_detection: NDArray[np.float32]
    snr: NDArray[np.float32]
    tags: dict[str, tuple[int, ...]] = field(default_factory=dict)
    planes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def ranking(self) -> list[int]:
        """Every `roi_id`, the best first: expected detection, then SNR, then the lower id; NaN is last."""
        detection = np.nan_to_num(self.expected_detection, nan=-np.inf)
        snr = np.nan_to_num(self.snr, nan=-np.inf)
        return [int(self.roi_id[i]) for i in np.lexsort((self.roi_id, -snr, -detection))]

    def positions(self, ids: tuple[int, ...]) -> tuple[tuple[float, float], ...]:
        """Centroids (y, x) of cells, template px."""
        row = {int(roi): i for i, roi in enumerate(self.roi_id)}
        return tuple((float(self.centroid_yx_px[row[i], 0]), float(self.centroid_yx_px[row[i], 1])) for i in ids)

    def plane_of(self) -> dict[int, int]:
        """Plane of every `roi_id`; empty where all cells are in plane 0."""
        if not self.planes.any():
            return {}
        return {int(roi): int(plane) for roi, plane in zip(self.roi_id, self.planes, strict=True)}


def select_cells(selection: CellSelection, rois: RoiTable, key: str) -> tuple[int, ...]:
    """Identities that a selection means, in order of the selection.

    Parameters
    ----------
    selection : CellSelection
    rois : RoiTable
    key : str
        Key of the protocol file, for the message.

    Returns
    -------
    tuple of int
        Fewer than `n` where there are fewer cells.

    Raises
    ------
    ConfigError
        An id or tag that no cell has.
    """
    if isinstance(selection, AllCells):
        return tuple(int(i) for i in rois.roi_id)
    if isinstance(selection, BestCells):
        return tuple(rois.ranking()[: selection.n])
    if isinstance(selection, CellsById):
        known = {int(i) for i in rois.roi_id}
        unknown = [i for i in selection.ids if i not in known]
        if unknown:
            raise ConfigError(f"no cell has roi_id {unknown[0]}", f"there are {len(known)} cells", key=f"{key}.ids")
        return tuple(dict.fromkeys(selection.ids))
    return _tagged(selection, rois, key)


def _tagged(selection: CellsByTag, rois: RoiTable, key: str) -> tuple[int, ...]:
    if selection.tag not in rois.tags:
        known = ", ".join(sorted(rois.tags)) or "none"
        raise ConfigError(f"no cell has the tag {selection.tag!r}", f"tags: {known}", key=f"{key}.tag")
    return rois.tags[selection.tag]
