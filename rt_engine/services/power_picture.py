"""The picture of a power calibration: what was measured, and the two clamps that bound it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw(
    table: dict[str, Any],
    path: Path,
    title: str,
    *,
    errors_mw: Sequence[float] | None = None,
    max_v: float | None = None,
    max_beam_mw: float | None = None,
) -> None:
    """The curve of a table with its error bars, the highest voltage and the highest power.

    Parameters
    ----------
    table : dict
        As `power_calibration.table_of` makes it, with volts.
    path : Path
        Of the PNG.
    title : str
    errors_mw : sequence of float or None
        Standard error of each step.
    max_v, max_beam_mw : float or None
        The clamps of the rig file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.errorbar(table["volts"], table["power_mw"], yerr=errors_mw, fmt="o-", capsize=3, label="measured")
    if max_v is not None:
        axes.axvline(max_v, color="0.5", linestyle=":", label=f"max_v {max_v:g} V")
    if max_beam_mw is not None and max_beam_mw < 2 * max(table["power_mw"]):
        axes.axhline(max_beam_mw, color="tab:red", linestyle="--", label=f"max_beam_mw {max_beam_mw:g} mW")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("command (V)")
    axes.set_ylabel("power at the sample (mW)")
    axes.set_title(f"{title}, {table['date']}, {table['person']}")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
