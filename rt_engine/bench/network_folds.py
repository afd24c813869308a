"""Accuracy of weights of the network on the data sets that each of them left out, beside the decision without.

``python -m rt_engine.bench.network_folds TRUTH_DIR WEIGHTS… --hold 3 -o folds.png --json folds.json``
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.network_weights import NetworkWeights, read_weights
from rt_engine.models.ground_truth import View
from rt_engine.models.indicators import indicator
from rt_engine.models.spike_scoring import MIN_SPIKES, Prediction, score, summarise
from rt_engine.models.trace_inference import InferenceSettings, Method, infer_traces
from rt_engine.recording.figure_style import BLUE, GREY, new_figure, styled
from rt_engine.services.accuracy_job import as_prediction, as_rows, format_table, load_views
from rt_engine.services.run_view import RunView

NOISY = 4.0
N_BINS = 15
Table = dict[str, dict[str, float]]


class Held(NamedTuple):
    """Of one data set: ``predictions`` of its views; ``ece`` of the probability; ``bias`` : float64 ndarray, of the
    expected count of every neuron with at least `MIN_SPIKES` spikes.
    """

    predictions: list[Prediction]
    ece: float
    bias: NDArray[np.float64]


def weights_by_set(paths: Sequence[Path]) -> dict[str, NetworkWeights]:
    """For every data set the weights that left it out, as their cards say.

    Raises
    ------
    ConfigError
        A file is none of weights, or two left out the same data set.
    """
    found: dict[str, NetworkWeights] = {}
    for path in paths:
        weights = read_weights(path)
        for name in json.loads(weights.card).get("left_out", []):
            if name in found:
                raise ConfigError(f"{name} is left out by others too", "give each data set once", file=str(path))
            found[name] = weights
    return found


def infer_set(views: list[View], hold: int, weights: NetworkWeights) -> Held:
    """Infer all views of one data set and compare with its spikes."""
    settings = InferenceSettings(
        indicator=indicator(views[0].recording.indicator), method=Method.NETWORK, hold_frames=hold, network=weights
    )
    result = infer_traces(as_rows(views), np.array([1 / v.dt_s for v in views]), settings)
    predictions = [as_prediction(v, result, row, hold) for row, v in enumerate(views)]
    told, true = [], []
    of_neuron: dict[str, NDArray[np.float64]] = {}
    for row, v in enumerate(views):
        n = len(v.y)
        frame = np.floor((v.recording.spikes_s - v.t_s[0]) / v.dt_s).astype(np.int64)
        counts = np.bincount(frame[(frame >= 0) & (frame < n)], minlength=n)[: n - hold]
        told.append(result.probability[row, hold:n])
        true.append(counts > 0)
        if result.expected_count is not None:
            sums = np.array([result.expected_count[row, hold:n].sum(), counts.sum()], np.float64)
            of_neuron[v.recording.neuron] = of_neuron.get(v.recording.neuron, np.zeros(2)) + sums
    bias = [expected / n - 1 for expected, n in of_neuron.values() if n >= MIN_SPIKES]
    return Held(predictions, calibration_error(np.concatenate(told), np.concatenate(true)), np.array(bias))


def calibration_error(told: NDArray[np.float32], true: NDArray[np.bool_]) -> float:
    """Expected calibration error in `N_BINS` bins of equal width."""
    place = np.minimum((told * N_BINS).astype(np.int64), N_BINS - 1)
    gaps = [
        abs(float(told[place == k].mean()) - float(true[place == k].mean())) * float((place == k).mean())
        for k in np.unique(place)
    ]
    return sum(gaps)


def score_held_out(folder: Path, found: dict[str, NetworkWeights], hold: int, noise: float | None) -> dict[str, Any]:
    """Table of the data sets that `found` has weights for, with ECE and bias of the expected count."""
    views = [v for v in load_views(folder, 30.0, noise) if v.recording.dataset in found]
    names = sorted({v.recording.dataset for v in views})
    by_set = {name: infer_set([v for v in views if v.recording.dataset == name], hold, found[name]) for name in names}
    predictions = [p for name in names for p in by_set[name].predictions]
    table = summarise(score(sorted(views, key=lambda v: v.recording.dataset), predictions))
    bias = np.concatenate([held.bias for held in by_set.values()])
    return {
        "table": table,
        "ece": {name: held.ece for name, held in by_set.items()},
        "bias": {name: float(np.median(held.bias)) for name, held in by_set.items() if len(held.bias)},
        "median_bias": float(np.median(bias)),
    }


def save_figure(path: Path, panels: dict[str, list[tuple[str, str, Table]]]) -> None:
    """Draw the correlation of every data set; a panel for each noise, a colour for each way to decide."""
    with styled():
        figure = new_figure(9, 3.2)
        figure.patch.set_facecolor("white")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, (title, of_panel) in zip(axes, panels.items(), strict=True):
            for k, (label, colour, table) in enumerate(of_panel):
                names = list(table)
                x = np.arange(len(names)) + 0.15 * (k - (len(of_panel) - 1) / 2)
                ax.plot(x, [table[name]["corr_cascade"] for name in names], "o", color=colour, label=label)
            ax.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
            ax.set_title(title)
        axes[0].set_ylabel("correlation, median of neurons")
        axes[0].set_ylim(0, 1)
        axes[0].legend(loc="lower left")
        figure.savefig(path)


def main() -> None:
    """Score and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path)
    parser.add_argument("weights", type=Path, nargs="+", help="files that `spikeloop train --leave-out` wrote")
    parser.add_argument("--hold", type=int, default=3)
    parser.add_argument("--plain", type=Path, nargs=2, help="tables without network, of `spikeloop score --json`")
    parser.add_argument("-o", "--output", type=Path, default=Path("folds.png"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = weights_by_set(arguments.weights)
    panels: dict[str, list[tuple[str, str, Table]]] = {}
    told = {}
    for k, (title, noise) in enumerate((("as recorded", None), (f"noise {NOISY:g}", NOISY))):
        told[title] = score_held_out(arguments.truth, found, arguments.hold, noise)
        RunView().say(f"{title}\n{format_table(told[title]['table'])}\nbias {told[title]['median_bias']:.3f}")
        panels[title] = [("with network", BLUE, told[title]["table"])]
        if arguments.plain:
            plain = json.loads(arguments.plain[k].read_text("utf-8"))["table"]
            panels[title].insert(0, ("without", GREY, {name: plain[name] for name in told[title]["table"]}))
    save_figure(arguments.output, panels)
    if arguments.json:
        arguments.json.write_text(json.dumps(told, indent=1), "utf-8")


if __name__ == "__main__":
    main()
