"""Yesterday's cells today: which are found again, which are there but silent, which are lost, and which are new."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.optimize import linear_sum_assignment

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.roi_mask import CORE_PART
from rt_engine.models.field_alignment import SAME_SCALE, FieldTransform, align_fields, warp_to_new
from rt_engine.pipeline.masks import LARGEST_WEIGHT, weights_of

MIN_CORRELATION = 0.5
"""Of the two templates; fields of other places reach less, see the page of the command."""
MAX_ROTATION_DEG = 3.0
MIN_OVERLAP = 0.3
"""Intersection over union of a cell of yesterday, moved, and one of today, to be the same."""
MIN_LIKENESS = 0.7
"""Correlation of a cell's surroundings in both templates for a cell that fires nothing to be there still."""
MIN_INSIDE = 0.7
"""Part of a cell that the field of today must still show."""
MIN_SEEN = 0.4
"""Part of a cell's surroundings that must be in the field of both days and free of other cells, to be compared."""
_RIM_PX = 3


class Fate(Enum):
    """What became of a cell of the old calibration."""

    FOUND = "found again"
    SILENT = "silent but seen"
    UNSEEN = "not seen"
    OUTSIDE = "outside the field"


@dataclass(frozen=True, slots=True, eq=False)
class CarryOver:
    """What a person decides on.

    Attributes
    ----------
    transform : FieldTransform
        From the old template to the new one.
    old_roi_id : uint32 ndarray, shape (n_old,)
    fate : tuple of Fate, one for each old cell
    overlap : float64 ndarray, shape (n_old,)
        Intersection over union with the cell of today that it is; NaN where there is none.
    outlines : list of uint32 ndarray
        Old cells moved into today's field, flat pixels.
    roi_id : uint32 ndarray, shape (n_new,)
        Identities of the cells of today: carried over, or above all old ones.
    """

    transform: FieldTransform
    old_roi_id: NDArray[np.uint32]
    fate: tuple[Fate, ...]
    overlap: NDArray[np.float64]
    outlines: list[NDArray[np.uint32]]
    roi_id: NDArray[np.uint32]

    def count(self, fate: Fate) -> int:
        """Number of old cells of that fate."""
        return sum(one is fate for one in self.fate)

    @property
    def n_new(self) -> int:
        """Cells of today that were not known."""
        return int(np.sum(~np.isin(self.roi_id, self.old_roi_id)))

    def lost_roi_id(self) -> list[int]:
        """Identities that are not carried over."""
        kept = (Fate.FOUND, Fate.SILENT)
        return [int(i) for i, fate in zip(self.old_roi_id, self.fate, strict=True) if fate not in kept]


class Heritage:
    """An old calibration, on its way into a new one.

    Parameters
    ----------
    old : Calibration

    Attributes
    ----------
    result : CarryOver or None
        What `adopt` decided.
    silent_footprints : list of (uint32 ndarray, uint8 ndarray)
        After `adopt`: pixels and weights, 1 to 255, of every silent cell of yesterday, moved into today's field.
    """

    def __init__(self, old: Calibration) -> None:
        self.old = old
        self.result: CarryOver | None = None
        self.silent_footprints: list[tuple[NDArray[np.uint32], NDArray[np.uint8]]] = []

    @property
    def roi_id(self) -> NDArray[np.uint32]:
        """Identities of the cells that `adopt` gave, in their order; empty before."""
        return self.result.roi_id if self.result is not None else np.zeros(0, np.uint32)

    def adopt(
        self, template: NDArray[np.float32], footprints: list[NDArray[np.uint32]], quality: NDArray[np.float32]
    ) -> tuple[list[NDArray[np.uint32]], NDArray[np.float32]]:
        """Join the cells found today with those of yesterday that are still there.

        Parameters
        ----------
        template : float32 ndarray, shape (n_lines, n_pixels), counts, read
        footprints : list of uint32 ndarray
            Flat pixels of the cells found today.
        quality : float32 ndarray, shape (n_found,)

        Returns
        -------
        footprints, quality
            Cells found today first, in their order, then silent ones of yesterday with their old quality.

        Raises
        ------
        CalibrationError
            The fields do not show the same place, or not at the same zoom.
        """
        transform = align_fields(self.old.template, template)
        _require_same_field(transform)
        moved, inside = _moved(self.old, transform)
        outlines = [pixels[weights >= CORE_PART * weights.max(initial=0)] for pixels, weights in moved]
        overlap = _overlaps(outlines, footprints, template.size)
        partner = _partners(overlap)
        likeness = _likenesses(warp_to_new(self.old.template, transform), template, outlines, footprints)
        fate = tuple(
            Fate.FOUND if partner[k] >= 0
            else Fate.OUTSIDE if inside[k] < MIN_INSIDE
            else Fate.SILENT if likeness[k] >= MIN_LIKENESS and not _covered(overlap[k])
            else Fate.UNSEEN
            for k in range(self.old.n_rois)
        )  # fmt: skip
        silent = [k for k, one in enumerate(fate) if one is Fate.SILENT]
        self.silent_footprints = [moved[k] for k in silent]
        found_id = np.zeros(len(footprints), np.int64)
        for k, j in enumerate(partner):
            if j >= 0:
                found_id[j] = self.old.roi_id[k]
        new = found_id == 0
        found_id[new] = int(self.old.roi_id.max(initial=0)) + 1 + np.arange(int(new.sum()))
        roi_id = np.concatenate((found_id, self.old.roi_id[silent].astype(np.int64))).astype(np.uint32)
        shared = np.array([overlap[k, j] if j >= 0 else np.nan for k, j in enumerate(partner)])
        self.result = CarryOver(transform, self.old.roi_id, fate, shared, outlines, roi_id)
        return (
            [*footprints, *(outlines[k] for k in silent)],
            np.concatenate((quality, self.old.quality[silent])).astype(np.float32),
        )


def _require_same_field(transform: FieldTransform) -> None:
    if transform.correlation < MIN_CORRELATION:
        raise CalibrationError(
            f"this is not the field of the old calibration: the templates correlate by {transform.correlation:.2f}, "
            f"{MIN_CORRELATION} is needed, over at least half of the field",
            "go back to the same place and depth, or calibrate anew without --from",
        )
    if abs(transform.scale - 1.0) > SAME_SCALE:
        raise CalibrationError(
            f"the zoom is another: the field is magnified by {transform.scale:.3f}",
            "set the zoom of the old calibration, or calibrate anew without --from",
        )
    if abs(transform.rotation_deg) > MAX_ROTATION_DEG:
        raise CalibrationError(
            f"the field is rotated by {transform.rotation_deg:.1f} degrees, {MAX_ROTATION_DEG:.0f} are followed",
            "straighten the head or the scan, or calibrate anew without --from",
        )


def _moved(
    old: Calibration, transform: FieldTransform
) -> tuple[list[tuple[NDArray[np.uint32], NDArray[np.uint8]]], NDArray[np.float64]]:
    """Pixels and weights of every old cell in the field of today, and the part of the cell that they are."""
    lines, pixels = old.n_lines, old.pixels_per_line
    moved, inside = [], np.zeros(old.n_rois)
    weight = weights_of(old)
    for k in range(old.n_rois):
        entries = slice(int(old.roi_start[k]), int(old.roi_start[k + 1]))
        flat = old.roi_pixels[entries].astype(np.int64)
        y, x = flat // pixels, flat % pixels
        corner = np.array([y.min() - 1, x.min() - 1])
        mask = np.zeros((int(np.ptp(y)) + 3, int(np.ptp(x)) + 3), np.int64)
        mask[y - corner[0], x - corner[1]] = weight[entries] if old.roi_weight.size else LARGEST_WEIGHT
        ends = np.array([[a, b] for a in (y.min(), y.max()) for b in (x.min(), x.max())], np.float64)
        low, high = transform.forward(ends).min(axis=0) - 2, transform.forward(ends).max(axis=0) + 3
        grid = np.moveaxis(np.mgrid[int(low[0]) : int(high[0]) + 1, int(low[1]) : int(high[1]) + 1], 0, -1)
        at = np.rint(transform.backward(grid.reshape(-1, 2).astype(np.float64)) - corner).astype(np.int64)
        within = ((at >= 0) & (at < mask.shape)).all(axis=1)
        hit = np.zeros(len(at), np.int64)
        hit[within] = mask[tuple(at[within].T)]
        there, of_cell = grid.reshape(-1, 2)[hit > 0], hit[hit > 0]
        seen: NDArray[np.bool_] = np.all((there >= 0) & (there < (lines, pixels)), axis=1)
        place = there[seen, 0] * pixels + there[seen, 1]
        order = np.argsort(place)
        moved.append((place[order].astype(np.uint32), of_cell[seen][order].astype(np.uint8)))
        inside[k] = float(seen.mean()) if len(seen) else 0.0
    return moved, inside


def _overlaps(old: list[NDArray[np.uint32]], found: list[NDArray[np.uint32]], n_pixels: int) -> NDArray[np.float64]:
    """Intersection over union, shape (n_old, n_found)."""
    out = np.zeros((len(old), len(found)))
    marked = np.zeros(n_pixels, bool)
    for k, mine in enumerate(old):
        marked[mine] = True
        for j, theirs in enumerate(found):
            shared = int(marked[theirs].sum())
            if shared:
                out[k, j] = shared / (len(mine) + len(theirs) - shared)
        marked[mine] = False
    return out


def _partners(overlap: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cell of today for every old one, -1 for none; one to one, with the largest overlap in all."""
    partner = np.full(len(overlap), -1, np.int64)
    for k, j in zip(*linear_sum_assignment(-overlap), strict=True):
        if overlap[k, j] >= MIN_OVERLAP:
            partner[k] = j
    return partner


def _covered(overlap: NDArray[np.float64]) -> bool:
    """True where a cell of today, of another identity, already stands."""
    return bool(overlap.max(initial=0.0) >= MIN_OVERLAP)


def _likenesses(
    old: NDArray[np.float32],
    new: NDArray[np.float32],
    outlines: list[NDArray[np.uint32]],
    found: list[NDArray[np.uint32]],
) -> NDArray[np.float64]:
    """Correlation of both templates around every old cell, band-passed; -1 where too little of it is seen.

    Pixels of other cells do not count: a neighbour that is still there says nothing of the cell.
    """
    beyond = ~np.isfinite(old)
    owners = np.bincount(np.concatenate([*outlines, *found, np.zeros(0, np.uint32)]), minlength=new.size)
    owners = owners.reshape(new.shape)
    mine, theirs = (_band(np.where(beyond, new, image)) for image in (old, new))
    out = np.full(len(outlines), -1.0)
    for k, flat in enumerate(outlines):
        if not len(flat):
            continue
        y, x = flat // new.shape[1], flat % new.shape[1]
        low = np.maximum([int(y.min()) - _RIM_PX, int(x.min()) - _RIM_PX], 0)
        mask = np.zeros((int(y.max()) + _RIM_PX + 1 - low[0], int(x.max()) + _RIM_PX + 1 - low[1]), bool)
        mask[y.astype(np.int64) - low[0], x.astype(np.int64) - low[1]] = True
        mask = binary_dilation(mask, iterations=_RIM_PX)[: new.shape[0] - low[0], : new.shape[1] - low[1]]
        window = np.s_[low[0] : low[0] + mask.shape[0], low[1] : low[1] + mask.shape[1]]
        own = np.zeros(mask.shape, np.int64)
        own[y.astype(np.int64) - low[0], x.astype(np.int64) - low[1]] = 1
        alone = owners[window] - own <= 0
        use = mask & ~beyond[window] & alone
        if use.sum() >= MIN_SEEN * mask.sum():
            a, b = mine[window][use], theirs[window][use]
            norm = np.sqrt(((a - a.mean()) ** 2).sum() * ((b - b.mean()) ** 2).sum())
            out[k] = float(((a - a.mean()) * (b - b.mean())).sum() / norm) if norm > 0 else -1.0
    return out


def _band(image: NDArray[np.float32]) -> NDArray[np.float64]:
    counts = image.astype(np.float64)
    out: NDArray[np.float64] = gaussian_filter(counts, 1.0) - gaussian_filter(counts, 10.0)
    return out
