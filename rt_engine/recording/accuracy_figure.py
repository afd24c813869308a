"""Figure of `spikeloop score`: the data sets, and the methods of others measured on the same data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from rt_engine.recording.figure_style import BLUE, GREY, new_figure, styled


class Reference(NamedTuple):
    """What another method reached on the shared ground truth at 30 Hz."""

    name: str
    causal: bool
    median_corr: float
    mean_corr: float
    f1_event: float


REFERENCES = (
    Reference("OASIS AR(2), L1, batch", False, 0.829, 0.766, 0.616),
    Reference("suite2p OASIS, batch", False, 0.808, 0.722, 0.638),
    Reference("CASCADE, global model", False, 0.801, 0.783, 0.643),
    Reference("online OASIS, hold 3", True, 0.813, 0.734, 0.692),
    Reference("matched filter, hold 3", True, 0.799, 0.734, 0.610),
)
NOISY_REFERENCES = (
    Reference("OASIS AR(2), L1, batch", False, 0.741, 0.658, 0.508),
    Reference("CASCADE, global model", False, 0.74, 0.70, 0.54),
    Reference("online OASIS, hold 3", True, 0.663, 0.594, 0.432),
)


class ScoredNeuron(Protocol):
    """Metrics of one neuron."""

    @property
    def dataset(self) -> str:
        """Name of the data set."""

    @property
    def metrics(self) -> dict[str, float]:
        """By name."""


def save_accuracy_figure(
    path: Path, table: dict[str, dict[str, float]], rows: Sequence[ScoredNeuron], label: str, *, noisy: bool
) -> None:
    """Draw correlations by data set and the comparison with other methods; the file's suffix is its format.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with styled():
        figure = new_figure(9, 3.4)
        figure.patch.set_facecolor("white")
        by_set, others = figure.subplots(1, 2, width_ratios=(3, 2))
        sets = sorted({row.dataset for row in rows})
        rng = np.random.default_rng(0)
        for x, name in enumerate(sets):
            values = [row.metrics.get("corr_cascade", np.nan) for row in rows if row.dataset == name]
            by_set.plot(x + rng.uniform(-0.2, 0.2, len(values)), values, ".", color=GREY, markersize=4)
            by_set.plot([x - 0.35, x + 0.35], 2 * [table[name]["corr_cascade"]], color=BLUE, linewidth=2)
        by_set.set_xticks(range(len(sets)), sets, rotation=60)
        by_set.set_ylabel("correlation with spikes")
        by_set.set_ylim(0, 1)
        by_set.set_title(f"{label}: neurons, and median")
        ours = Reference(
            label,
            True,
            table["ALL neurons"]["corr_cascade"],
            table["mean of sets"]["corr_cascade"],
            table["ALL neurons"]["F1_event"],
        )
        shown = [ours, *(NOISY_REFERENCES if noisy else REFERENCES)]
        for y, one in enumerate(reversed(shown)):
            colour = BLUE if one is ours else GREY
            for value, marker in ((one.median_corr, "o"), (one.mean_corr, "s"), (one.f1_event, "^")):
                others.plot(value, y, marker, color=colour, fillstyle="full" if one.causal else "none")
        others.set_yticks(range(len(shown)), [one.name for one in reversed(shown)])
        others.set_title("o median, □ mean of sets, △ F1 of events\nfilled: causal. References: 30 Hz")
        figure.savefig(path)
