"""Figure of docs/explanation/network.md: ``python docs/pictures/make_network.py FOLDER``, with the JSON of `score`.

FOLDER holds ``combined-3-native.json``, ``network-3-4.json``, ``synthetic-3-4.json`` and so on (method, hold, noise).
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

METHODS = {"combined": "without network", "network": "with network, set never seen", "synthetic": "synthetic only"}
COLOURS = {"combined": "0.55", "network": "tab:blue", "synthetic": "tab:orange"}


def values(folder, method, hold, noise, metric):
    """Median of every data set, by name."""
    table = json.loads((folder / f"{method}-{hold}-{noise}.json").read_text("utf-8"))["table"]
    return {name: of[metric] for name, of in table.items() if name.startswith("DS")}


def draw(folder, target):
    """Two metrics, two levels of noise."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 6), sharex=True, sharey=True, layout="constrained")
    for row, metric in zip(axes, ("corr_cascade", "F1_event"), strict=True):
        for ax, noise in zip(row, ("native", "4"), strict=True):
            for k, (method, label) in enumerate(METHODS.items()):
                found = values(folder, method, 3, noise, metric)
                names = sorted(found)
                at = np.arange(len(names)) + 0.27 * (k - 1)
                ax.bar(at, [found[name] for name in names], 0.25, color=COLOURS[method], label=label)
            ax.set_xticks(np.arange(len(names)), names, rotation=60)
            ax.set_title(f"{metric}, {'noise as recorded' if noise == 'native' else 'noise 4'}", fontsize=10)
            ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylim(0, 1)
    axes[0, 0].legend(fontsize=8, frameon=False, loc="lower left")
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(__file__).with_name("network.png"))
