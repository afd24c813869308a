"""Rows of the pixel benchmark: reading all cells and rings at a shift between pixels, against resampling the frame."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
from numba import njit, types
from numpy.typing import NDArray
from scipy.sparse import csr_array

from rt_engine.bench.crowded_field import FRAME_SHAPE, SHIFT_YX_PX, crowded_field, random_frames
from rt_engine.bench.rounds import Contestant, Row, Spread, measure
from rt_engine.kernels.compile_options import NO_ALLOCATION
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.masks import PlaneMasks

N_CELLS = 1000
N_FRAMES = 16
_NAMES = ("binary", "weighted")
_OPENCV = "OpenCV resampling + CSR"
_BARE = "bare resampling + CSR"
"""A loop that knows nothing but one shift of less than a pixel and no border: the least that resampling can cost."""


@njit(
    types.void(types.Array(types.uint16, 2, "C"), types.float32, types.float32, types.Array(types.float32, 2, "C")),
    **NO_ALLOCATION,
)
def resample(frame: NDArray[np.uint16], part_y: np.float32, part_x: np.float32, out: NDArray[np.float32]) -> None:
    """Bilinear image at a shift of less than a pixel; the last line and pixel are left.

    Parameters
    ----------
    frame : uint16 ndarray, shape (n_lines, n_pixels), C order, counts, read
    part_y, part_x : float
        0 to 1, pixels.
    out : float32 ndarray, shape (n_lines, n_pixels), C order, counts, overwritten
    """
    one = np.float32(1.0)
    for y in range(np.uint64(frame.shape[0] - 1)):
        upper = frame[y]
        lower = frame[y + np.uint64(1)]
        line = out[y]
        for x in range(np.uint64(frame.shape[1] - 1)):
            above = (one - part_x) * np.float32(upper[x]) + part_x * np.float32(upper[x + np.uint64(1)])
            below = (one - part_x) * np.float32(lower[x]) + part_x * np.float32(lower[x + np.uint64(1)])
            line[x] = (one - part_y) * above + part_y * below


def mean_matrix(masks: PlaneMasks) -> csr_array:
    """Rows that average over every footprint, then over every ring, float32."""
    weight = masks.roi_weight.astype(np.float64)
    total = np.add.reduceat(weight, masks.roi_start[:-1])
    roi = weight / np.repeat(total, np.diff(masks.roi_start))
    ring = np.repeat(1.0 / np.diff(masks.neuropil_start), np.diff(masks.neuropil_start))
    start = np.concatenate([masks.roi_start, masks.roi_start[-1] + masks.neuropil_start[1:]])
    pixels = np.concatenate([masks.roi_pixels, masks.neuropil_pixels]).astype(np.int32)
    shape = (len(start) - 1, FRAME_SHAPE[0] * FRAME_SHAPE[1])
    return csr_array((np.concatenate([roi, ring]).astype(np.float32), pixels, start.astype(np.int32)), shape=shape)


def extraction_rows(n_rounds: int) -> list[Row]:
    """Time of a frame for both ways, their ratio, and how far they are apart.

    Parameters
    ----------
    n_rounds : int
    """
    frames = random_frames(N_FRAMES, 1)
    fields = {name: crowded_field(N_CELLS, FRAME_SHAPE[0], 2, weighted=name == "weighted") for name in _NAMES}
    stages = {name: RoiExtraction(masks) for name, masks in fields.items()}
    image = np.zeros(FRAME_SHAPE, np.float32)
    matrix = mean_matrix(fields["binary"])

    def usual() -> None:
        for frame in frames:
            resample(frame, np.float32(SHIFT_YX_PX[0]), np.float32(SHIFT_YX_PX[1]), image)
            matrix @ image.reshape(-1)

    contestants = [Contestant(_BARE, N_FRAMES, usual)]
    opencv = _with_opencv(frames, matrix)
    contestants += [Contestant(_OPENCV, N_FRAMES, opencv)] if opencv is not None else []
    contestants += [Contestant(name, N_FRAMES, _reader(stage, frames)) for name, stage in stages.items()]
    times = measure(contestants, n_rounds)
    rows = [Row(f"extraction, {name}", "us", Spread.of(value / 1e3)) for name, value in times.items()]
    for usual_way, bound in ((_OPENCV, (">=", 1.8)), (_BARE, None)):
        if usual_way in times:
            for name in _NAMES:
                ratio = Spread.of(times[usual_way] / times[name])
                rows.append(Row(f"extraction, {usual_way} over {name}", "", ratio, bound if name == "binary" else None))
    apart = max(_largest_difference(stages[name], fields[name], frames[0]) for name in _NAMES)
    rows.append(Row("extraction, largest relative difference", "", Spread(apart, apart, apart), ("<=", 1e-5)))
    return rows


def _with_opencv(frames: NDArray[np.uint16], matrix: csr_array) -> Callable[[], None] | None:
    """Resampling as motion correction does it, on one thread; None where OpenCV is not installed."""
    try:
        cv2 = import_module("cv2")
    except ImportError:
        return None
    cv2.setNumThreads(1)
    move = np.array([[1, 0, -SHIFT_YX_PX[1]], [0, 1, -SHIFT_YX_PX[0]]], np.float32)

    def run() -> None:
        for frame in frames:
            image = cv2.warpAffine(frame.astype(np.float32), move, FRAME_SHAPE[::-1], flags=cv2.INTER_LINEAR)
            matrix @ image.reshape(-1)

    return run


def _reader(stage: RoiExtraction, frames: NDArray[np.uint16]) -> Callable[[], None]:
    def run() -> None:
        for frame in frames:
            stage.process(frame, *SHIFT_YX_PX)

    return run


def _largest_difference(stage: RoiExtraction, masks: PlaneMasks, frame: NDArray[np.uint16]) -> float:
    """Between our means and those over the frame resampled in double precision."""
    (py, px), f = SHIFT_YX_PX, frame.astype(np.float64)
    image = np.zeros(FRAME_SHAPE)
    image[:-1, :-1] = (1 - py) * ((1 - px) * f[:-1, :-1] + px * f[:-1, 1:])
    image[:-1, :-1] += py * ((1 - px) * f[1:, :-1] + px * f[1:, 1:])
    expected = mean_matrix(masks).astype(np.float64) @ image.reshape(-1) - masks.offset_counts
    stage.process(frame, *SHIFT_YX_PX)
    found = np.concatenate([stage.f_roi, stage.f_np])
    return float(np.max(np.abs(found - expected) / np.abs(expected)))
