"""The passes over a baseline recording: template, registered movie binned in time, traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import CalibrationError
from rt_engine.kernels.resample import add_photon_statistics, add_registered
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.masks import PlaneMasks
from rt_engine.pipeline.registration import RigidRegistration

OpenFrames = Callable[[], Iterator[NDArray[Any]]]

TEMPLATE_FRAMES = 200
TEMPLATE_BYTES = 200_000_000
TEMPLATE_ROUNDS = 2
MOVIE_BYTES = 420_000_000
"""Largest binned movie kept in memory; the search for cells needs about twice as much."""
MAX_STILL_PX = 1.0
"""Successive frames that moved less than this against each other count for photon statistics."""


@dataclass(frozen=True, slots=True, eq=False)
class BaselineMovie:
    """Registered baseline.

    Attributes
    ----------
    movie : float32 ndarray, shape (n_bins, n_lines, n_pixels), counts
        Mean of every bin in template coordinates.
    template : float32 ndarray, shape (n_lines, n_pixels), counts
    mean, variance : float32 ndarray, shape (n_lines, n_pixels), counts and counts^2
        Of one raw frame; variance from differences of successive frames that did not move.
    largest_shift_px : float
    n_jumped : int
        Frames left out of movie and template.
    """

    movie: NDArray[np.float32]
    template: NDArray[np.float32]
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    largest_shift_px: float
    n_jumped: int


def first_template(
    open_frames: OpenFrames, n_frames: int, max_shift_px: float, progress: Callable[[float], None]
) -> NDArray[np.float32]:
    """Mean of frames spread over the recording, registered to their own mean, twice over.

    Raises
    ------
    CalibrationError
        All frames are black or alike.
    """
    frames = _spread_frames(open_frames, n_frames, progress)
    mean: NDArray[np.float32] = np.asarray(np.mean(frames, axis=0, dtype=np.float32))
    if float(np.ptp(mean)) <= 0.0:
        raise CalibrationError(
            f"every pixel has the value {mean.flat[0]:g}: the frames are black or blank",
            "check shutter, laser power and detector, then record the baseline again",
        )
    middle = frames[len(frames) // 2 : len(frames) // 2 + max(1, len(frames) // 20)]
    template: NDArray[np.float32] = np.asarray(np.mean(middle, axis=0, dtype=np.float32))
    for _ in range(TEMPLATE_ROUNDS):
        registration = RigidRegistration(template, max_shift_px)
        shifts = np.array([_shift_of(registration, frame) for frame in frames])
        shifts -= np.median(shifts, axis=0)
        total = np.zeros(template.shape, np.float32)
        for frame, shift in zip(frames, shifts, strict=True):
            add_registered(frame, shift[0], shift[1], total)
        template = total / np.float32(len(frames))
    return template


def _spread_frames(open_frames: OpenFrames, n_frames: int, progress: Callable[[float], None]) -> list[NDArray[Any]]:
    frames: list[NDArray[Any]] = []
    step = 1
    for index, frame in enumerate(open_frames()):
        if index == 0:
            step = max(1, -(-n_frames // max(20, min(TEMPLATE_FRAMES, TEMPLATE_BYTES // frame.nbytes))))
        if index % step == 0:
            frames.append(np.ascontiguousarray(frame).copy())
            progress((index + 1) / n_frames)
    return frames


def _shift_of(registration: RigidRegistration, frame: NDArray[Any]) -> tuple[float, float]:
    registration.process(frame)
    return registration.shift_y_px, registration.shift_x_px


def register_baseline(
    open_frames: OpenFrames,
    n_frames: int,
    template: NDArray[np.float32],
    *,
    bin_frames: int,
    max_shift_px: float,
    progress: Callable[[float], None],
    open_structural: OpenFrames | None = None,
) -> BaselineMovie:
    """Register every frame to a template; bin in time, and gather a better template and photon statistics.

    Parameters
    ----------
    open_frames : callable
        Gives the frames from the first on.
    n_frames : int
    template : float32 ndarray, shape (n_lines, n_pixels), counts, read
    bin_frames : int
        Frames averaged in one image. Of a recording whose bins would not fit `MOVIE_BYTES`, evenly spread bins are
        kept.
    max_shift_px : float
    progress : callable
        Gets the fraction done.
    open_structural : callable, optional
        Gives the frames that are registered to the template in place of the others.
    """
    registration = RigidRegistration(template, max_shift_px)
    n_bins = n_frames // bin_frames
    n_kept = int(max(1, min(n_bins, MOVIE_BYTES // template.nbytes)))
    keep = np.zeros(n_bins, bool)
    keep[np.linspace(0, n_bins - 1, n_kept).astype(np.int64)] = True
    movie = np.zeros((n_kept, *template.shape), np.float32)
    total, mean, variance, image = (np.zeros(template.shape, np.float32) for _ in range(4))
    previous: NDArray[Any] | None = None
    before = (0.0, 0.0)
    largest = 0.0
    n_total = n_pairs = n_in_bin = n_jumped = slot = 0
    frames, structural = open_frames(), open_structural() if open_structural else None
    for index, frame in enumerate(islice(frames, n_bins * bin_frames)):
        shift = _shift_of(registration, frame if structural is None else next(structural))
        if registration.jumped:
            n_jumped += 1
        else:
            add_registered(frame, shift[0], shift[1], image)
            n_in_bin += 1
            largest = max(largest, abs(shift[0]), abs(shift[1]))
        if previous is not None and max(abs(shift[0] - before[0]), abs(shift[1] - before[1])) < MAX_STILL_PX:
            add_photon_statistics(frame, previous, mean, variance)
            n_pairs += 1
        previous, before = frame, shift
        if (index + 1) % bin_frames == 0:
            if keep[index // bin_frames]:
                # A bin lost to movement shows what the one before it showed.
                movie[slot] = image / np.float32(n_in_bin) if n_in_bin else movie[max(slot - 1, 0)]
                slot += 1
            total += image
            n_total += n_in_bin
            image[:] = 0.0
            n_in_bin = 0
            progress((index + 1) / n_frames)
    _close(frames)
    if slot < n_kept or n_total == 0:
        raise CalibrationError(
            f"the recording gave {slot * bin_frames} of {n_frames} usable frames", "record the baseline again"
        )
    n_pairs = max(n_pairs, 1)
    return BaselineMovie(
        movie,
        total / np.float32(n_total),
        mean / np.float32(n_pairs),
        variance / np.float32(n_pairs),
        largest,
        n_jumped,
    )


def extract_traces(
    open_frames: OpenFrames,
    n_frames: int,
    template: NDArray[np.float32],
    masks: PlaneMasks,
    *,
    max_shift_px: float,
    progress: Callable[[float], None],
    shift_px_out: NDArray[np.float32] | None = None,
    open_structural: OpenFrames | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """Traces of all cells through the same registration and extraction as live.

    Parameters
    ----------
    open_frames : callable
        Gives the frames from the first on.
    n_frames : int
    template : float32 ndarray, shape (n_lines, n_pixels), counts, read
    masks : PlaneMasks
    max_shift_px : float
    progress : callable
        Gets the fraction done.
    shift_px_out : float32 ndarray, shape (n_frames, 2), optional
        Overwritten with the shift (y, x) of every frame, NaN where it jumped.
    open_structural : callable, optional
        Gives the frames that are registered to the template in place of the others.

    Returns
    -------
    f_roi, f_np : float32 ndarray, shape (n_frames, n_rois), counts above the offset
    valid : uint8 ndarray, shape (n_frames, n_rois)
        0 also for censored values, which calibration must not learn from.
    """
    registration = RigidRegistration(template, max_shift_px, masks.line_phase_px)
    extraction = RoiExtraction(masks)
    n_rois = len(masks.roi_start) - 1
    f_roi = np.zeros((n_frames, n_rois), np.float32)
    f_np = np.zeros((n_frames, n_rois), np.float32)
    valid = np.zeros((n_frames, n_rois), np.uint8)
    frames, structural = open_frames(), open_structural() if open_structural else None
    for index, frame in enumerate(islice(frames, n_frames)):
        registration.process(frame if structural is None else next(structural))
        extraction.process(frame, registration.shift_y_px, registration.shift_x_px)
        f_roi[index] = extraction.f_roi
        f_np[index] = extraction.f_np
        if shift_px_out is not None:
            shift = registration.shift_y_px, registration.shift_x_px
            shift_px_out[index] = (np.nan, np.nan) if registration.jumped else shift
        valid[index] = 0 if registration.jumped else extraction.valid & (1 - extraction.censored)
        if index % 50 == 49:
            progress((index + 1) / n_frames)
    _close(frames)
    progress(1.0)
    return f_roi, f_np, valid


def _close(frames: Iterator[NDArray[Any]]) -> None:
    """Let a generator release its file now."""
    close = getattr(frames, "close", None)
    if close is not None:
        close()
