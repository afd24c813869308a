"""Rows of the pixel benchmark: what demixing costs on top of reading the cells, and how near it is to the solution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from rt_engine.bench.crowded_field import FRAME_SHAPE, SHIFT_YX_PX, crowded_field, random_frames
from rt_engine.bench.extraction_cost import N_CELLS, N_FRAMES
from rt_engine.bench.rounds import Contestant, Row, Spread, measure
from rt_engine.kernels.demixing import demix
from rt_engine.pipeline.demixing import Demixing
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.overlap import Overlap, find_overlap

DENSE_CELLS, DENSE_SIDE_PX = 150, 80
N_DENSE_FRAMES = 40
SOLVES = 20
"""Of every frame's traces, so that one call is long enough to be timed."""


def demixing_rows(n_rounds: int) -> list[Row]:
    """Cost over that of the projection at ordinary overlap; error over the frame-to-frame change at dense overlap.

    Parameters
    ----------
    n_rounds : int
    """
    frames = random_frames(N_FRAMES, 3)
    masks = crowded_field(N_CELLS, FRAME_SHAPE[0], 4, demixed=True)
    overlap = find_overlap(masks)
    projection = RoiExtraction(crowded_field(N_CELLS, FRAME_SHAPE[0], 4))
    demixing = Demixing(masks, overlap)
    traces = []
    for frame in frames:
        projection.process(frame, *SHIFT_YX_PX)
        traces.append((projection.f_roi.copy(), projection.f_np.copy()))
    f_roi, valid, blanked = np.zeros(N_CELLS, np.float32), np.ones(N_CELLS, np.uint8), np.zeros(N_CELLS, np.uint8)

    def project() -> None:
        for frame in frames:
            projection.process(frame, *SHIFT_YX_PX)

    def take_apart() -> None:
        for of_roi, of_ring in traces:
            for _ in range(SOLVES):
                np.copyto(f_roi, of_roi)
                demixing.process(f_roi, of_ring, valid, blanked)

    times = measure(
        [Contestant("projection", N_FRAMES, project), Contestant("demixing", N_FRAMES * SOLVES, take_apart)], n_rounds
    )
    share = float(sum(len(group) for group in overlap.groups)) / N_CELLS
    error, condition_number = dense_error(5)
    return [
        *(Row(f"demixing, {name}", "us", Spread.of(value / 1e3)) for name, value in times.items()),
        Row("demixing over projection", "", Spread.of(times["demixing"] / times["projection"]), ("<=", 0.3)),
        Row("demixing, part of the cells that overlap", "", Spread(share, share, share)),
        Row("dense overlap, error over frame-to-frame change", "", error, ("<=", 0.05)),
        Row("dense overlap, condition number", "", Spread(*[condition_number] * 3)),
    ]


def dense_error(seed: int) -> tuple[Spread, float]:
    """Distance of a frame's light from the converged non-negative solution, over the change since the frame before.

    Returns
    -------
    error : Spread
        Over frames.
    condition_number : float
    """
    masks = crowded_field(DENSE_CELLS, DENSE_SIDE_PX, seed, weighted=True, demixed=True)
    overlap = find_overlap(masks)
    for values in (masks.reference_roi_counts, masks.reference_np_counts, masks.rest_counts, masks.background_loading):
        values.fill(0.0)
    demixing = Demixing(masks, overlap)
    structure, state = demixing.structure, demixing.state
    gram = _gram(overlap, structure.roi)
    factor = np.linalg.cholesky(gram)
    rng = np.random.default_rng(seed)
    n = len(gram)
    light = np.zeros(n)
    before: NDArray[np.float64] | None = None
    errors = []
    for _ in range(N_DENSE_FRAMES):
        light = 0.9 * light + 300.0 * rng.poisson(0.05, n)
        noisy = gram @ light + 60.0 * factor @ rng.standard_normal(n)
        f_roi = np.zeros(DENSE_CELLS, np.float32)
        f_roi[structure.roi] = noisy / structure.norm
        exact = f_roi[structure.roi].astype(np.float64) * structure.norm
        ones = np.ones(DENSE_CELLS, np.uint8)
        demix(f_roi, np.zeros(DENSE_CELLS, np.float32), ones, ones, structure, state)
        solution = nnls(factor.T, np.linalg.solve(factor, exact))[0]
        if before is not None:
            errors.append(float(np.linalg.norm(state.light - solution) / np.linalg.norm(solution - before)))
        before = solution
    return Spread.of(np.array(errors)), overlap.condition_number()


def _gram(overlap: Overlap, roi: NDArray[np.int64]) -> NDArray[np.float64]:
    """Inner products of the footprints that are taken apart."""
    whole = np.diag(overlap.norm)
    whole[overlap.one, overlap.other] = overlap.product
    whole[overlap.other, overlap.one] = overlap.product
    return whole[np.ix_(roi, roi)]
