"""Draw `cells-compared.png`: the cells that spikeloop and suite2p find in the same movie, and the traces of both.

`python docs/pictures/make_cells_compared.py MOVIE FRAME_RATE_HZ SUITE2P_OUT`, where SUITE2P_OUT is what
`run_suite2p.py` wrote in an environment of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from rt_engine.models.calibrate import calibrate
from rt_engine.models.neuropil_rings import neuropil_rings

INDICATOR = "GCaMP6s"
NEUROPIL = 0.7
MIN_SHARED = 0.3
"""Intersection over union of two masks above which they are the same cell."""
N_TRACES = 12


def corrected(
    movie: NDArray[np.float32], cells: list[NDArray[np.uint32]], rings: list[NDArray[np.uint32]]
) -> NDArray[np.float64]:
    """Mean of every mask minus 0.7 of its ring, shape (n_cells, n_frames)."""
    flat = movie.reshape(len(movie), -1)
    return np.array(
        [flat[:, a].mean(axis=1) - NEUROPIL * flat[:, b].mean(axis=1) for a, b in zip(cells, rings, strict=True)]
    )


def shared(ours: list[NDArray[np.uint32]], theirs: list[NDArray[np.uint32]]) -> NDArray[np.float64]:
    """Intersection over union of every pair."""
    out = np.zeros((len(ours), len(theirs)))
    for i, one in enumerate(ours):
        for j, other in enumerate(theirs):
            both = len(np.intersect1d(one, other))
            out[i, j] = both / (len(one) + len(other) - both)
    return out


def outline(axis: plt.Axes, shape: tuple[int, int], pixels: NDArray[np.uint32], colour: str) -> None:
    """Draw the rim of a mask."""
    mask = np.zeros(shape, bool)
    mask.ravel()[pixels] = True
    axis.contour(mask, [0.5], colors=colour, linewidths=1.0)


def main(movie_path: Path, frame_rate_hz: float, suite2p_out: Path) -> None:
    """Calibrate, compare, print, draw."""
    movie = tifffile.imread(movie_path)
    ours_cal = calibrate(
        lambda: iter(movie), frame_rate_hz=frame_rate_hz, indicator=INDICATOR, n_frames=len(movie),
        false_alarms_per_min=0.5, neuropil_coefficient=NEUROPIL, um_per_px=None, offset_counts=None, adc_max=None,
        max_shift_px=12.0, progress=lambda stage, done: None, say=print,
    )  # fmt: skip
    shape = (ours_cal.n_lines, ours_cal.pixels_per_line)
    ours = np.split(ours_cal.roi_pixels, ours_cal.roi_start[1:-1])
    stat = np.load(suite2p_out / "stat.npy", allow_pickle=True)
    is_cell = np.load(suite2p_out / "iscell.npy")[:, 0] > 0
    theirs = [np.unique(s["ypix"] * shape[1] + s["xpix"]).astype(np.uint32) for s in stat]
    their_traces = np.load(suite2p_out / "F.npy") - NEUROPIL * np.load(suite2p_out / "Fneu.npy")
    our_traces = corrected(movie.astype(np.float32), ours, neuropil_rings(ours, *shape))
    score = shared(ours, theirs)
    i, j = linear_sum_assignment(-score)
    same = score[i, j] >= MIN_SHARED
    i, j = i[same], j[same]
    together = np.array([np.corrcoef(our_traces[a], their_traces[b])[0, 1] for a, b in zip(i, j, strict=True)])
    print(f"spikeloop {len(ours)}, suite2p {len(theirs)} ROIs of which it calls {int(is_cell.sum())} cells")
    print(f"common {len(i)}: of them suite2p calls {int(is_cell[j].sum())} cells, {int((~is_cell[j]).sum())} not")
    print("trace correlation of common cells: median {:.3f}, quartiles {:.3f} to {:.3f}, least {:.3f}".format(
        np.median(together), *np.percentile(together, [25, 75]), together.min()
    ))  # fmt: skip
    figure, axes = plt.subplots(1, 3, figsize=(21, 7))
    image = ours_cal.correlation_image
    names = ("spikeloop (green: suite2p has it too)", "suite2p (green: common; dashed grey: not a cell)")
    for axis, name in zip(axes, names, strict=False):
        axis.imshow(image, cmap="gray", vmin=0.0, vmax=float(np.percentile(image, 99)))
        axis.set_title(name)
        axis.set_axis_off()
    for k, pixels in enumerate(ours):
        outline(axes[0], shape, pixels, "lime" if k in i else "orange")
    for k, pixels in enumerate(theirs):
        outline(axes[1], shape, pixels, "lime" if k in j else "orange" if is_cell[k] else "gray")
    axes[1].set_title("suite2p (green: common, orange: cell of its own, grey: not a cell by its classifier)")
    axes[0].set_title("spikeloop (green: suite2p has it too, orange: not)")
    t_s = np.arange(len(movie)) / frame_rate_hz
    for row, pick in enumerate(np.argsort(-ours_cal.quality[i])[:: max(1, len(i) // N_TRACES)][:N_TRACES]):
        for trace, colour in ((their_traces[j[pick]], "tab:orange"), (our_traces[i[pick]], "tab:green")):
            centred = trace - np.median(trace)
            axes[2].plot(t_s, centred / np.percentile(centred, 99.5) - 1.3 * row, color=colour, lw=0.6)
        axes[2].text(t_s[-1] * 1.01, -1.3 * row, f"{together[pick]:.2f}", va="center", fontsize=8)
    axes[2].set_title("traces of common cells: spikeloop green, suite2p orange; correlation")
    axes[2].set_xlabel("s")
    axes[2].set_yticks([])
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("cells-compared.png"), dpi=60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))
