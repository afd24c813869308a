"""Draw `cells-found.png` and print how many planted cells are found, how well, and what finding them costs.

`python docs/pictures/make_cells_found.py CACHE_FOLDER [N_CELLS:SEED ...]`; movies of the default virtual rig (3,000
frames of 512 x 512) are made in CACHE_FOLDER where they are not there yet. Without fields: 200 and 1,000 cells, three
seeds each.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix

from drivers.virtual_rig.simulate import simulate
from rt_engine.interfaces.rig_config import VirtualMicroscope
from rt_engine.interfaces.sample_config import SampleConfig
from rt_engine.models.baseline import MOVIE_BYTES, first_template, register_baseline
from rt_engine.models.calibrate import _bin_frames
from rt_engine.models.cells import FoundCells, find_cells
from rt_engine.models.indicators import indicator

FIELDS = ["200:101", "1000:102", "200:103", "1000:104", "200:107", "1000:106"]
N_FRAMES, SIZE, RATE_HZ, UM_PER_PX = 3000, 512, 30.0, 0.8
SAME_CELL = 0.5
"""Correlation of mask and planted footprint from which a cell counts as found."""
MIN_A_OVER_SIGMA, MIN_SPIKES = 4.0, 5
BANDS = (0.0, 2.0, 3.0, 4.0, 6.0, 9.0, np.inf)


class Scored(NamedTuple):
    """Planted cells of one field: A/sigma, spikes in the movie, correlation of the binary mask and of the weighted one
    (NaN where not found); and how many found cells were never planted."""

    a_over_sigma: NDArray[np.float64]
    n_spikes: NDArray[np.int64]
    binary: NDArray[np.float64]
    weighted: NDArray[np.float64]
    n_false: int

    @property
    def eligible(self) -> NDArray[np.bool_]:
        """Cells that must be found."""
        return (self.a_over_sigma >= MIN_A_OVER_SIGMA) & (self.n_spikes >= MIN_SPIKES)

    def f1(self) -> float:
        """Eligible cells found and missed, and cells never planted; dim planted cells that were found are no error."""
        found = self.eligible & np.isfinite(self.binary)
        return 2 * found.sum() / (2 * found.sum() + (self.eligible & ~found).sum() + self.n_false)


def correlations(one: csr_matrix, other: csr_matrix) -> NDArray[np.float64]:
    """Pearson correlation over all pixels of every pair of rows."""
    n = one.shape[1]
    mean = [np.asarray(m.mean(axis=1)).ravel() for m in (one, other)]
    sd = [
        np.sqrt(np.asarray(m.multiply(m).mean(axis=1)).ravel() - u**2) for m, u in zip((one, other), mean, strict=True)
    ]
    return (np.asarray((one @ other.T).todense()) / n - np.outer(*mean)) / np.outer(*sd)


def rows(pixels: list[NDArray[np.uint32]], weights: list[NDArray[np.float64]]) -> csr_matrix:
    """Footprints as rows."""
    start = np.concatenate([[0], np.cumsum([len(own) for own in pixels])])
    return csr_matrix((np.concatenate(weights), np.concatenate(pixels).astype(np.int64), start), (len(pixels), SIZE**2))


def score(found: FoundCells, truth: dict[str, NDArray[np.float64]]) -> Scored:
    """Match one to one, for the largest sum of correlations."""
    start = truth["footprint_start"]
    planted = csr_matrix((truth["footprint_weight"], truth["footprint_pixels"], start), (len(start) - 1, SIZE**2))
    binary = correlations(rows(found.footprints, [np.ones(len(own)) for own in found.footprints]), planted)
    weighted = correlations(rows(found.weighted_pixels, [own.astype(float) for own in found.weights]), planted)
    i, j = linear_sum_assignment(-np.where(binary >= SAME_CELL, binary, 0.0))
    hit = binary[i, j] >= SAME_CELL
    out = np.full((2, len(start) - 1), np.nan)
    out[0, j[hit]], out[1, j[hit]] = binary[i[hit], j[hit]], weighted[i[hit], j[hit]]
    spikes = np.bincount(truth["spike_cell"][truth["spike_frame"] < N_FRAMES], minlength=len(start) - 1)
    return Scored(truth["a_over_sigma"], spikes, out[0], out[1], len(found.footprints) - int(hit.sum()))


def movie_of(folder: Path, n_cells: int, seed: int) -> Path:
    """Movie and truth, made unless they are there."""
    path = folder / f"sim_{n_cells}_{seed}.tif"
    if not path.with_suffix(".truth.npz").exists():
        rig = VirtualMicroscope(
            driver="virtual", frame_rate_hz=RATE_HZ, n_lines=SIZE, pixels_per_line=SIZE, um_per_px=UM_PER_PX,
            pace="max", sample=SampleConfig(n_cells=n_cells),
        )  # fmt: skip
        simulate(rig, N_FRAMES / RATE_HZ, path, seed)
    return path


def find(path: Path) -> tuple[FoundCells, NDArray[np.float32]]:
    """Template, registration and cells, as `calibrate` does it; prints what it costs."""
    movie = tifffile.memmap(path)
    begun_s = time.process_time()
    template = first_template(lambda: iter(movie), N_FRAMES, 12.0, lambda done: None)
    per_bin = _bin_frames(RATE_HZ, indicator("jGCaMP8m").tau_s, N_FRAMES, MOVIE_BYTES // template.nbytes)
    baseline = register_baseline(
        lambda: iter(movie), N_FRAMES, template, bin_frames=per_bin, max_shift_px=12.0, progress=lambda done: None
    )
    registered_s = time.process_time() - begun_s
    first_s: list[float] = []
    found = find_cells(
        baseline.movie, um_per_px=UM_PER_PX, progress=lambda done: None,
        first=lambda cells: first_s.append(time.process_time() - begun_s),
    )  # fmt: skip
    cost = (
        f"CPU s: registered {registered_s:.1f}, first ROIs {first_s[0]:.1f}, cells {time.process_time() - begun_s:.1f}"
    )
    print(f"{path.stem}: {found.summary()}; {cost}")
    return found, baseline.template


def main(folder: Path, fields: list[str]) -> None:
    """Find, print, draw."""
    figure, axes = plt.subplots(1, 4, figsize=(24, 6.5))
    shown: dict[int, plt.Axes] = {}
    for field in fields:
        n_cells, seed = (int(part) for part in field.split(":"))
        path = movie_of(folder, n_cells, seed)
        found, template = find(path)
        result = score(found, dict(np.load(path.with_suffix(".truth.npz"))))
        hit = np.isfinite(result.binary)
        must = hit & result.eligible
        medians = [float(np.median(own[must])) for own in (result.binary, result.weighted)]
        print(
            f"  F1 {result.f1():.3f}: {must.sum()} of {result.eligible.sum()} that must be found, "
            f"{result.n_false} never planted"
        )
        print("  footprint correlation, median: binary {:.3f}, weighted {:.3f}".format(*medians))
        band = np.digitize(result.a_over_sigma, BANDS) - 1
        fires = result.n_spikes >= MIN_SPIKES
        ticks = range(len(BANDS) - 1)
        style = {"color": "tab:blue" if n_cells < 500 else "tab:red", "marker": "o", "label": field}
        axes[2].plot(ticks, [np.mean(hit[fires & (band == k)]) for k in ticks], **style)
        axes[3].plot(ticks, [np.median(result.weighted[hit & (band == k)]) for k in ticks], **style)
        if n_cells not in shown and len(shown) < 2:
            axis = shown[n_cells] = axes[len(shown)]
            axis.imshow(template, cmap="gray", vmin=np.percentile(template, 1), vmax=np.percentile(template, 99.5))
            for pixels in found.footprints:
                mask = np.zeros(template.shape)
                mask.ravel()[pixels] = 1.0
                axis.contour(mask, [0.5], colors="lime", linewidths=0.5)
            axis.set_title(f"{n_cells} cells planted, {len(found.footprints)} found")
            axis.set_axis_off()
    for axis, title in zip(axes[2:], ("part found (at least 5 spikes)", "footprint correlation, median"), strict=True):
        axis.set_xticks(range(len(BANDS) - 1), [f"{a:g}-{b:g}" for a, b in itertools.pairwise(BANDS)])
        axis.set(xlabel="A/sigma", title=title, ylim=(0, 1.02))
        axis.legend()
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("cells-found.png"), dpi=60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or FIELDS)
