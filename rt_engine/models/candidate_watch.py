"""Candidates on probation: their traces frame by frame, until noise, F0 and threshold can be told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.models.cell_constants import cell_constants
from rt_engine.models.indicators import indicator
from rt_engine.models.neuropil_rings import ring_around
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.masks import MIN_OWN_PIXELS, N_BACKGROUND, PlaneMasks

WATCH_FRAMES = 3000
"""Longest past that constants rest on; from here on thresholds are not provisional."""
MIN_WATCH_S, MIN_WATCH_FRAMES = 20.0, 300
SAME = 0.3
"""Intersection over union from which two masks are one candidate."""


@dataclass(slots=True, eq=False)
class Watched:
    """One candidate.

    Attributes
    ----------
    candidate_id : int
    pixels, ring : uint32 ndarray
        Flat pixel indices, ascending; of the ring around it.
    quality : float
    replaces : tuple of int
        Identities of the known cells that it takes the place of.
    f_roi, f_np : float32 ndarray, shape (WATCH_FRAMES,)
        A ring by frame number.
    valid : uint8 ndarray, shape (WATCH_FRAMES,)
    first, last : int
        Frames of the trace; -1 before there is any.
    constants : Calibration or None
        Of this one cell.
    n_used : int
        Frames that `constants` rest on.
    """

    candidate_id: int
    pixels: NDArray[np.uint32]
    ring: NDArray[np.uint32]
    quality: float
    replaces: tuple[int, ...] = ()
    f_roi: NDArray[np.float32] = field(default_factory=lambda: np.zeros(WATCH_FRAMES, np.float32))
    f_np: NDArray[np.float32] = field(default_factory=lambda: np.zeros(WATCH_FRAMES, np.float32))
    valid: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(WATCH_FRAMES, np.uint8))
    first: int = -1
    last: int = -1
    constants: Calibration | None = None
    n_used: int = 0

    @property
    def n_frames(self) -> int:
        """Frames that its trace covers."""
        return 0 if self.first < 0 else self.last - self.first + 1

    def push(self, frame: int, f_roi: float, f_np: float, valid: int) -> None:
        """One sample; frames that were left out before it have none."""
        if self.first < 0:
            self.first, self.last = frame, frame - 1
        for missing in range(max(self.last + 1, frame - WATCH_FRAMES + 1), frame):
            self.valid[missing % WATCH_FRAMES] = 0
        slot = frame % WATCH_FRAMES
        self.f_roi[slot], self.f_np[slot], self.valid[slot] = f_roi, f_np, valid
        self.last = frame
        self.first = max(self.first, frame - WATCH_FRAMES + 1)

    def trace(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
        """Footprint, ring and validity in order, each of shape (n_frames, 1)."""
        order = np.arange(self.first, self.last + 1) % WATCH_FRAMES
        return self.f_roi[order, None], self.f_np[order, None], self.valid[order, None]


class CandidateWatch:
    """Reads all candidates of a plane as known cells are read.

    Parameters
    ----------
    calibration : Calibration
    neuropil_coefficient : float or None
        Of the rig: fixed, or None for estimated.

    Attributes
    ----------
    watched : list of Watched
    known : bool ndarray, shape (n_lines, n_pixels)
        Pixels of cells that are read, or were.
    """

    def __init__(self, calibration: Calibration, neuropil_coefficient: float | None) -> None:
        self._calibration = calibration
        self._neuropil_coefficient = neuropil_coefficient
        self.known = np.zeros((calibration.n_lines, calibration.pixels_per_line), np.bool_)
        self.known.ravel()[calibration.roi_pixels] = True
        self.watched: list[Watched] = []
        self.min_frames = int(max(MIN_WATCH_FRAMES, MIN_WATCH_S * calibration.frame_rate_hz))
        self._extraction: RoiExtraction | None = None

    def own_pixels(
        self, pixels: NDArray[np.uint32], replaced: NDArray[np.uint32] | None = None
    ) -> NDArray[np.uint32] | None:
        """Pixels of a mask that belong to no known cell but those it replaces; None if too few are left."""
        known = self.known.ravel()[pixels]
        if replaced is not None:
            known &= ~np.isin(pixels, replaced)
        own = pixels[~known]
        return own if len(own) >= MIN_OWN_PIXELS * len(pixels) else None

    def like(self, pixels: NDArray[np.uint32]) -> Watched | None:
        """The candidate that a mask is, if there is one."""
        return next((one for one in self.watched if overlap(one.pixels, pixels) >= SAME), None)

    def add(
        self, candidate_id: int, pixels: NDArray[np.uint32], quality: float, replaces: tuple[int, ...] = ()
    ) -> Watched:
        """Watch a mask from the next frame on."""
        ring = ring_around(pixels, self.known)
        one = Watched(candidate_id, pixels, ring, quality, replaces)
        self.watched.append(one)
        self._prepare()
        return one

    def drop(self, candidate_id: int) -> Watched | None:
        """Watch it no longer."""
        found = next((one for one in self.watched if one.candidate_id == candidate_id), None)
        if found is not None:
            self.watched.remove(found)
            self._prepare()
        return found

    def process(
        self, frame: NDArray[Any], number: int, shift_yx_px: tuple[float, float], blanked: list[list[int]], jumped: bool
    ) -> None:
        """Read all candidates in one frame.

        Parameters
        ----------
        frame : uint16 or int16 ndarray, shape (n_lines, n_pixels), C order, counts, read
        number : int
            The source's counter.
        shift_yx_px : (float, float)
        blanked : list of [line0, n_lines]
        jumped : bool
            Nothing in this frame is where it is looked for.
        """
        if self._extraction is None:
            return
        extraction = self._extraction
        extraction.process(frame, *shift_yx_px, blanked)
        valid = extraction.valid & (1 - extraction.censored)
        for row, one in enumerate(self.watched):
            sample = float(extraction.f_roi[row]), float(extraction.f_np[row])
            one.push(number, *sample, 0 if jumped else int(valid[row]))

    def due(self) -> list[Watched]:
        """Candidates whose trace is long enough for constants, or twice as long as when they were made."""
        return [
            one
            for one in self.watched
            if one.n_used < WATCH_FRAMES
            and one.n_frames >= max(self.min_frames, min(2 * one.n_used, WATCH_FRAMES))
        ]  # fmt: skip

    def constants(self, one: Watched) -> Calibration:
        """Constants of a candidate from its trace so far, as a calibration of one cell; its `roi_id` is 0."""
        base = self._calibration
        f_roi, f_np, valid = one.trace()
        masks = self._masks([one])
        found = cell_constants(
            masks, f_roi, f_np, valid, frame_rate_hz=base.frame_rate_hz, indicator=indicator(base.indicator),
            hold_frames=base.hold_frames,
            false_alarms_per_min=None if base.by_cost else base.false_alarms_per_min,
            false_event_cost=base.false_event_cost if base.by_cost else None,
            neuropil_coefficient=self._neuropil_coefficient, photon_gain_counts=base.photon_gain_counts,
        )  # fmt: skip
        none = np.zeros(0, np.float32)
        return replace(
            base,
            **found,
            n_baseline_frames=int((valid == 1).sum()),
            roi_id=np.zeros(1, np.uint32),
            roi_start=masks.roi_start,
            roi_pixels=masks.roi_pixels,
            roi_weight=np.zeros(0, np.uint8),
            neuropil_start=masks.neuropil_start,
            neuropil_pixels=masks.neuropil_pixels,
            quality=np.array([one.quality], np.float32),
            quality_numbers=np.zeros((0, 5), np.float32),
            background_loading=np.zeros((0, N_BACKGROUND), np.float32),
            reference_roi_counts=none,
            reference_np_counts=none,
            rest_counts=none,
            inseparable_roi_id=np.zeros((0, 2), np.uint32),
            condition_number=float("nan"),
        )

    def _prepare(self) -> None:
        self._extraction = RoiExtraction(self._masks(self.watched), few=True) if self.watched else None

    def _masks(self, watched: list[Watched]) -> PlaneMasks:
        base = self._calibration
        return PlaneMasks(
            n_lines=base.n_lines,
            pixels_per_line=base.pixels_per_line,
            offset_counts=base.offset_counts,
            adc_max_counts=base.adc_max_counts,
            roi_start=np.cumsum([0, *(len(one.pixels) for one in watched)]).astype(np.int64),
            roi_pixels=np.concatenate([one.pixels for one in watched]).astype(np.uint32),
            neuropil_start=np.cumsum([0, *(len(one.ring) for one in watched)]).astype(np.int64),
            neuropil_pixels=np.concatenate([one.ring for one in watched]).astype(np.uint32),
            line_phase_px=base.line_phase_px,
        )


def overlap(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    """Intersection over union of two masks."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(len(one) + len(other) - shared, 1)
