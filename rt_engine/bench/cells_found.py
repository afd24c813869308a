"""Rows of the pixel benchmark: planted cells of simulated movies that the search finds, and how well."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

from drivers.virtual_rig.simulate import simulate
from rt_engine.bench.rounds import Row, Spread
from rt_engine.interfaces.rig_config import VirtualMicroscope
from rt_engine.interfaces.sample_config import SampleConfig
from rt_engine.models.baseline import MOVIE_BYTES, first_template, register_baseline
from rt_engine.models.calibrate import search_bin_frames
from rt_engine.models.cells import FoundCells, find_cells
from rt_engine.models.indicators import indicator

N_FRAMES, SIZE_PX, RATE_HZ, UM_PER_PX, MAX_SHIFT_PX = 3000, 512, 30.0, 0.8, 12.0
INDICATOR = "jGCaMP8m"
FIELDS = ((200, 11), (1000, 12))
"""Cells planted, and seed. The limits of the search were chosen on other seeds."""
SAME_CELL = 0.5
"""Correlation of mask and planted footprint from which a cell counts as found."""
MIN_A_OVER_SIGMA, MIN_SPIKES = 4.0, 5


class Scored(NamedTuple):
    """What became of the planted cells of one field.

    ``a_over_sigma`` : float64 ndarray, shape (n_planted,); ``n_spikes`` : int64, same shape; ``binary``, ``weighted`` :
    float64, same shape: correlation of mask and of weighted footprint with the planted one, NaN where not found;
    ``n_false`` : found cells that were never planted.
    """

    a_over_sigma: NDArray[np.float64]
    n_spikes: NDArray[np.int64]
    binary: NDArray[np.float64]
    weighted: NDArray[np.float64]
    n_false: int

    @property
    def must(self) -> NDArray[np.bool_]:
        """Cells that have to be found."""
        return (self.a_over_sigma >= MIN_A_OVER_SIGMA) & (self.n_spikes >= MIN_SPIKES)

    @property
    def found(self) -> NDArray[np.bool_]:
        """Cells that have to be found, and are."""
        return self.must & np.isfinite(self.binary)

    def f1(self) -> float:
        """Of the cells that have to be found; dim planted ones that are found as well are no error."""
        n_found = int(self.found.sum())
        n_missed = int(self.must.sum()) - n_found
        return 2 * n_found / max(2 * n_found + n_missed + self.n_false, 1)


class Search(NamedTuple):
    """Cells of a movie, the template they lie in, and processor time since the start, seconds."""

    cells: FoundCells
    template: NDArray[np.float32]
    registered_s: float
    first_s: float
    found_s: float


def cells_rows(n_rounds: int) -> list[Row]:
    """F1 and footprint correlations of one field of 200 and one of 1,000 cells; `n_rounds` is not used."""
    rows: list[Row] = []
    for n_cells, seed in FIELDS:
        with tempfile.TemporaryDirectory(prefix="spikeloop-") as folder:
            movie = planted_movie(Path(folder), n_cells, seed)
            scored = score(search(movie).cells, truth_of(movie), SIZE_PX)
        name = f"cells found of {n_cells}"
        rows.append(Row(f"{name}, F1", "", _once(scored.f1()), (">=", 0.85)))
        weighted, binary = (float(np.median(one[scored.found])) for one in (scored.weighted, scored.binary))
        rows.append(Row(f"{name}, footprint correlation", "", _once(weighted), (">=", 0.8)))
        rows.append(Row(f"{name}, correlation of binary masks", "", _once(binary)))
    return rows


def _once(value: float) -> Spread:
    return Spread(value, value, value)


def planted_movie(folder: Path, n_cells: int, seed: int) -> Path:
    """3,000 frames of the virtual rig with their truth beside them, made unless they are there."""
    path = folder / f"sim_{n_cells}_{seed}.tif"
    if not path.with_suffix(".truth.npz").exists():
        rig = VirtualMicroscope(
            driver="virtual", frame_rate_hz=RATE_HZ, n_lines=SIZE_PX, pixels_per_line=SIZE_PX, um_per_px=UM_PER_PX,
            pace="max", sample=SampleConfig(n_cells=n_cells, indicator=INDICATOR),
        )  # fmt: skip
        simulate(rig, N_FRAMES / RATE_HZ, path, seed)
    return path


def truth_of(movie: Path) -> dict[str, NDArray[Any]]:
    """What was planted in a movie of `planted_movie`."""
    with np.load(movie.with_suffix(".truth.npz"), allow_pickle=False) as file:
        return dict(file)


def search(path: Path) -> Search:
    """Template, registration and cells, as `calibrate` does it."""
    movie = tifffile.memmap(path, mode="r")

    def frames() -> Iterator[NDArray[Any]]:
        return iter(movie)

    begun_s = time.process_time()
    template = first_template(frames, N_FRAMES, MAX_SHIFT_PX, _nobody)
    per_bin = search_bin_frames(RATE_HZ, indicator(INDICATOR).tau_s, N_FRAMES, MOVIE_BYTES // template.nbytes)
    baseline = register_baseline(
        frames, N_FRAMES, template, bin_frames=per_bin, max_shift_px=MAX_SHIFT_PX, progress=_nobody
    )
    registered_s = time.process_time() - begun_s
    first_s: list[float] = []
    cells = find_cells(
        baseline.movie, um_per_px=UM_PER_PX, progress=_nobody,
        first=lambda _: first_s.append(time.process_time() - begun_s),
    )  # fmt: skip
    found_s = time.process_time() - begun_s
    return Search(cells, baseline.template, registered_s, first_s[0] if first_s else found_s, found_s)


def _nobody(done: float) -> None:
    """Progress that nobody looks at."""


def score(found: FoundCells, truth: dict[str, NDArray[Any]], size_px: int) -> Scored:
    """Match found and planted cells one to one, for the largest sum of correlations.

    Parameters
    ----------
    found : FoundCells
    truth : dict
        Of it: ``footprint_start``, ``footprint_pixels``, ``footprint_weight``, ``a_over_sigma``, ``spike_cell``; see
        `drivers.virtual_rig.simulate`.
    size_px : int
        Lines and pixels a line of the field.
    """
    n_planted = len(truth["footprint_start"]) - 1
    n_pixels = size_px**2
    planted = csr_array(
        (truth["footprint_weight"].astype(np.float64), truth["footprint_pixels"], truth["footprint_start"]),
        (n_planted, n_pixels),
    )
    binary = _correlations(_rows(found.footprints, None, n_pixels), planted)
    weighted = _correlations(_rows(found.weighted_pixels, found.weights, n_pixels), planted)
    i, j = linear_sum_assignment(-np.where(binary >= SAME_CELL, binary, 0.0))
    hit = binary[i, j] >= SAME_CELL
    out = np.full((2, n_planted), np.nan)
    out[0, j[hit]], out[1, j[hit]] = binary[i[hit], j[hit]], weighted[i[hit], j[hit]]
    n_spikes = np.bincount(truth["spike_cell"], minlength=n_planted)
    return Scored(truth["a_over_sigma"], n_spikes, out[0], out[1], len(found.footprints) - int(hit.sum()))


def _rows(pixels: list[NDArray[np.uint32]], weights: list[NDArray[np.uint8]] | None, n_pixels: int) -> csr_array:
    """Footprints as rows; of weight 1 where there are no weights."""
    start = np.cumsum([0, *(len(own) for own in pixels)])
    flat = np.concatenate([np.zeros(0, np.uint32), *pixels]).astype(np.int64)
    of_pixel = np.ones(len(flat)) if weights is None else np.concatenate([np.zeros(0), *weights])
    return csr_array((of_pixel, flat, start), (len(pixels), n_pixels))


def _correlations(one: csr_array, other: csr_array) -> NDArray[np.float64]:
    """Pearson correlation over all pixels of the field, of every pair of rows."""
    n = one.shape[1]
    mean = [np.asarray(m.sum(axis=1)).ravel() / n for m in (one, other)]
    square = [np.asarray((m * m).sum(axis=1)).ravel() / n for m in (one, other)]
    sd = [np.sqrt(s - m**2) for s, m in zip(square, mean, strict=True)]
    together = np.asarray((one @ other.T).todense()) / n
    return np.asarray((together - np.outer(*mean)) / np.outer(*sd))
