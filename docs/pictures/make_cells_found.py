"""Draw `cells-found.png` and print how many planted cells are found, how well, and what finding them costs.

`python docs/pictures/make_cells_found.py CACHE_FOLDER [N_CELLS:SEED ...]`; movies of the default virtual rig (3,000
frames of 512 x 512) are made in CACHE_FOLDER where they are not there yet. Without fields: 200 and 1,000 cells, three
seeds each.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from rt_engine.bench.cells_found import MIN_SPIKES, SIZE_PX, planted_movie, score, search, truth_of

FIELDS = ["200:101", "1000:102", "200:103", "1000:104", "200:107", "1000:106"]
BANDS = (0.0, 2.0, 3.0, 4.0, 6.0, 9.0, np.inf)


def main(folder: Path, fields: list[str]) -> None:
    """Find, print, draw."""
    figure, axes = plt.subplots(1, 4, figsize=(24, 6.5))
    shown: dict[int, plt.Axes] = {}
    for field in fields:
        n_cells, seed = (int(part) for part in field.split(":"))
        path = planted_movie(folder, n_cells, seed)
        found, template, registered_s, first_s, found_s = search(path)
        print(f"{path.stem}: {found.summary()}")
        print(f"  CPU s: registered {registered_s:.1f}, first ROIs {first_s:.1f}, cells {found_s:.1f}")
        result = score(found, truth_of(path), SIZE_PX)
        hit, must = np.isfinite(result.binary), result.found
        medians = [float(np.median(own[must])) for own in (result.binary, result.weighted)]
        print(
            f"  F1 {result.f1():.3f}: {must.sum()} of {result.must.sum()} that must be found, "
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
