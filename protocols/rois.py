"""What a protocol knows about the cells, and how a selection becomes a group of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocols.control_sites import place_sites
from protocols.excitability_file import read_p50_mw
from protocols.schema.cells import (
    AllCells,
    BestCells,
    CellsById,
    CellsByRule,
    CellsByTag,
    CellSelection,
    CellValue,
    ControlSites,
    MostExcitableCells,
)
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
    values : dict of str to float32 ndarray, shape (n_rois,)
        Further values of the calibration by the names of `CellValue`.
    planes : int64 ndarray, shape (n_rois,)
        Plane of every cell; empty where all are in plane 0. Rows of a plane stand
        in the order of its `activity` messages.
    um_per_px : float or None
        Pixel size; None if unknown.
    removed : frozenset of int
        `roi_id` of cells that were taken out: their rows stay, and no group may hold them.
    """

    roi_id: NDArray[np.uint32]
    centroid_yx_px: NDArray[np.float64]
    expected_detection: NDArray[np.float32]
    snr: NDArray[np.float32]
    tags: dict[str, tuple[int, ...]] = field(default_factory=dict)
    values: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    planes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    um_per_px: float | None = None
    removed: frozenset[int] = frozenset()

    def ranking(self) -> list[int]:
        """Every `roi_id`, the best first: expected detection, then SNR, then the lower id; NaN is last."""
        detection = np.nan_to_num(self.expected_detection, nan=-np.inf)
        snr = np.nan_to_num(self.snr, nan=-np.inf)
        return [int(self.roi_id[i]) for i in np.lexsort((self.roi_id, -snr, -detection))]

    def positions(self, ids: tuple[int, ...]) -> tuple[tuple[float, float], ...]:
        """Centroids (y, x) of cells, template px."""
        row = {int(roi): i for i, roi in enumerate(self.roi_id)}
        return tuple((float(self.centroid_yx_px[row[i], 0]), float(self.centroid_yx_px[row[i], 1])) for i in ids)

    def value(self, name: CellValue) -> NDArray[np.floating]:
        """One value of every cell, shape (n_rois,); NaN where unknown."""
        known: dict[str, NDArray[np.floating]] = {
            CellValue.EXPECTED_DETECTION: self.expected_detection,
            CellValue.SNR: self.snr,
            CellValue.Y_PX: self.centroid_yx_px[:, 0],
            CellValue.X_PX: self.centroid_yx_px[:, 1],
        }
        return known.get(name, self.values.get(name, np.full(len(self.roi_id), np.nan)))

    def plane_of(self) -> dict[int, int]:
        """Plane of every `roi_id`; empty where all cells are in plane 0."""
        if not self.planes.any():
            return {}
        return {int(roi): int(plane) for roi, plane in zip(self.roi_id, self.planes, strict=True)}


@dataclass(frozen=True, slots=True)
class Group:
    """Members of one group.

    Attributes
    ----------
    name : str
    ids : tuple of int
        `roi_id` of the cells; -1, -2, … for sites without a cell.
    yx_px : tuple of (float, float)
        Where they are, template pixels.
    wanted : int
        How many were asked for.
    """

    name: str
    ids: tuple[int, ...]
    yx_px: tuple[tuple[float, float], ...]
    wanted: int

    @property
    def is_sites(self) -> bool:
        """True for places without a cell."""
        return bool(self.ids) and self.ids[0] < 0


def resolve_groups(cells: Mapping[str, CellSelection], rois: RoiTable) -> dict[str, Group]:
    """Members of every group of a protocol.

    Parameters
    ----------
    cells : mapping of str to CellSelection
    rois : RoiTable

    Returns
    -------
    dict of str to Group
        Fewer members than wanted where there are fewer cells.

    Raises
    ------
    ConfigError
        An id or tag that no cell has, a map that cannot be read, or groups that leave each other out.
    """
    groups: dict[str, Group] = {}

    def resolve(name: str, path: tuple[str, ...]) -> Group:
        if name in path:
            raise ConfigError("groups leave each other out in a circle: " + " → ".join((*path, name)), key="cells")
        if name not in groups:
            selection = cells[name]
            left_out = {i for other in selection.but_not for i in resolve(other, (*path, name)).ids}
            groups[name] = _group(name, selection, left_out, rois)
        return groups[name]

    for name in cells:
        resolve(name, ())
    return groups


def _group(name: str, selection: CellSelection, left_out: set[int], rois: RoiTable) -> Group:
    key = f"cells.{name}"
    if isinstance(selection, ControlSites):
        cells_yx_px = rois.centroid_yx_px[np.isfinite(rois.centroid_yx_px).all(axis=1)]
        yx = place_sites(cells_yx_px, rois.um_per_px, selection.n, selection.min_distance_um, key)
        return Group(name, tuple(-1 - i for i in range(len(yx))), yx, selection.n)
    limit = getattr(selection, "n", None)
    barred = left_out | rois.removed
    ids = tuple(i for i in _candidates(selection, rois, key) if i not in barred)[:limit]
    return Group(name, ids, rois.positions(ids), limit or 1)


def _candidates(selection: CellSelection, rois: RoiTable, key: str) -> tuple[int, ...]:
    """Identities that a selection may take, the first choice first."""
    match selection:
        case AllCells():
            return tuple(int(i) for i in rois.roi_id)
        case BestCells():
            return tuple(rois.ranking())
        case CellsById():
            known = {int(i) for i in rois.roi_id} - rois.removed
            unknown = [i for i in selection.ids if i not in known]
            if unknown:
                raise ConfigError(f"no cell has roi_id {unknown[0]}", f"there are {len(known)} cells", key=f"{key}.ids")
            return tuple(dict.fromkeys(selection.ids))
        case CellsByTag():
            if selection.tag not in rois.tags:
                tags = ", ".join(sorted(rois.tags)) or "none"
                raise ConfigError(f"no cell has the tag {selection.tag!r}", f"tags: {tags}", key=f"{key}.tag")
            return rois.tags[selection.tag]
        case MostExcitableCells():
            p50_mw = read_p50_mw(selection.map, f"{key}.map")
            known = {int(i) for i in rois.roi_id}
            return tuple(sorted((i for i in p50_mw if i in known), key=lambda i: (p50_mw[i], i)))
        case CellsByRule():
            return _by_rule(selection, rois)
        case _:
            raise ConfigError("selects no cells", key=key)


def _by_rule(selection: CellsByRule, rois: RoiTable) -> tuple[int, ...]:
    keeps = np.ones(len(rois.roi_id), bool)
    for rule in selection.where:
        value = rois.value(rule.value)
        keeps &= np.isfinite(value)
        if rule.at_least is not None:
            keeps &= value >= rule.at_least
        if rule.at_most is not None:
            keeps &= value <= rule.at_most
    return tuple(int(i) for i in rois.roi_id[keeps])
