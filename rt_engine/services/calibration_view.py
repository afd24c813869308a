"""What a calibration says of every cell: figures, and a table for people."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.trace_uncertainty import TraceUncertainty

LONGEST_TABLE = 24
"""Cells that are all shown; of more, half as many best and half as many worst."""
MOST_NAMED = 10
"""Inseparable cells that are named in the terminal; all of them are in the JSON figures."""
FALLEN = -0.3
"""Change of the baseline over the recording that is worth a word."""
CAPTION = "told: chance that one isolated spike raises an event (for A ± its error)"
NEUROPIL_STEP = 0.25
"""Difference between the neuropil coefficient in use and the fitted one that is, if it is two standard errors too."""


def cell_figures(calibration: Calibration) -> list[dict[str, Any]]:
    """Everything known of every cell, ready for JSON; None where it is unknown."""
    known = calibration.uncertainty
    rows = []
    for n in range(calibration.n_rois):
        row: dict[str, Any] = {
            "roi_id": int(calibration.roi_id[n]),
            "a_over_sigma": calibration.amplitude_dff[n] / calibration.sigma_dff[n],
            "expected_detection": calibration.expected_detection[n],
            "false_events_per_hour": 60 * _false_events_per_min(calibration, n),
            "sigma_dff": calibration.sigma_dff[n],
            "tau_s": calibration.tau_s[n],
            "amplitude_dff": calibration.amplitude_dff[n],
            "f0_counts": calibration.f0_counts[n],
            "neuropil_coefficient": calibration.neuropil_coefficient[n],
        }
        if known is not None:
            row |= {name: getattr(known, name)[n] for name in TraceUncertainty.__dataclass_fields__}
            row["false_events_per_hour"] *= float(known.valid_fraction[n])
        row = {name: _plain(value) for name, value in row.items()}
        rows.append(row | {"notes": notes(calibration, n)})
    return rows


def _false_events_per_min(calibration: Calibration, index: int) -> float:
    """Events that noise alone raises in a cell."""
    if calibration.by_cost:
        return float(calibration.false_events_per_min[index])
    return calibration.false_alarms_per_min


def overlap_figures(calibration: Calibration) -> dict[str, Any]:
    """Cells that cannot be told apart, and how well the others can, ready for JSON."""
    return {
        "condition_number": _plain(calibration.condition_number),
        "inseparable_roi_id": calibration.inseparable_roi_id.tolist(),
    }


def overlap_words(calibration: Calibration) -> list[str]:
    """What a person should know of overlapping cells; nothing where none overlap."""
    worst, pairs = calibration.condition_number, calibration.inseparable_roi_id.tolist()
    words = []
    if math.isfinite(worst) and worst > 1.0:
        words.append(f"overlapping cells are taken apart: condition number {worst:.3g} in the worst group")
    if pairs:
        named = ", ".join(f"{other} (takes the values of {one})" for one, other in pairs[:MOST_NAMED])
        more = f" and {len(pairs) - MOST_NAMED} more" if len(pairs) > MOST_NAMED else ""
        words.append(f"cannot be told apart from a better cell: {named}{more}; merge them or leave one out")
    return words


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def notes(calibration: Calibration, index: int) -> list[str]:
    """What a person should know of a cell before trusting its events."""
    found = ["provisional"] if calibration.provisional else []
    twins = calibration.inseparable_roi_id
    found += [f"= cell {one}" for one, other in twins.tolist() if other == calibration.roi_id[index]]
    known = calibration.uncertainty
    if known is None:
        return found
    if not known.has_dynamics[index]:
        found.append("no calcium dynamics")
    if known.noise_disputed[index]:
        found.append("disputed noise")
    if known.n_isolated_events[index] == 0:
        found.append("A, τ of population")
    if known.f0_change[index] < FALLEN:
        found.append(f"F0 fell {-known.f0_change[index]:.0%}")
    off = abs(calibration.neuropil_coefficient[index] - known.neuropil_fit[index])
    if off > max(NEUROPIL_STEP, 2 * known.neuropil_fit_se[index]):
        found.append(f"neuropil {known.neuropil_fit[index]:.1f}?")
    return found


def print_calibration(calibration: Calibration, console: Console) -> None:
    """Print one table: all cells, or the best, the worst and the medians of many."""
    rows = sorted(cell_figures(calibration), key=lambda row: -(row["expected_detection"] or 0.0))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption=CAPTION)
    for title in ("cell", "A/σ", "τ (ms)", "A (%)", "told (%)", "false/h", "valid"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("notes")
    half = LONGEST_TABLE // 2
    long = len(rows) > LONGEST_TABLE
    for row in rows[:half] if long else rows:
        table.add_row(*_cells(row))
    if long:
        left_out = len(rows) - 2 * half
        table.add_row("…", *[""] * 6, f"{left_out} cells between")
        for row in rows[-half:]:
            table.add_row(*_cells(row))
    table.add_section()
    table.add_row(*_summary(rows))
    console.print(table)


def _cells(row: dict[str, Any]) -> list[str]:
    valid = row.get("valid_fraction")
    shown = [note for note in row["notes"] if note != "provisional"]  # of all cells alike: said once, below
    return [
        str(row["roi_id"]),
        _number(row["a_over_sigma"], 1),
        _with_error(row["tau_s"], row.get("tau_se_s"), 1000),
        _with_error(row["amplitude_dff"], row.get("amplitude_se_dff"), 100),
        _with_range(row["expected_detection"], row.get("detection_low"), row.get("detection_high")),
        f"{row['false_events_per_hour']:.3g}",
        "" if valid is None else f"{math.floor(100 * valid)} %",
        ", ".join(shown),
    ]


def _summary(rows: list[dict[str, Any]]) -> list[str]:
    def median(name: str) -> float | None:
        values = [row[name] for row in rows if row.get(name) is not None]
        return float(np.median(values)) if values else None

    names = ("a_over_sigma", "tau_s", "tau_se_s", "amplitude_dff", "amplitude_se_dff", "valid_fraction")
    middle: dict[str, Any] = {name: median(name) for name in names}
    middle |= {name: median(name) for name in ("expected_detection", "detection_low", "detection_high")}
    middle |= {"roi_id": "median", "false_events_per_hour": median("false_events_per_hour") or 0.0, "notes": []}
    silent = sum("no calcium dynamics" in row["notes"] for row in rows)
    disputed = sum("disputed noise" in row["notes"] for row in rows)
    counts = [f"{n} {what}" for n, what in ((silent, "without dynamics"), (disputed, "disputed")) if n]
    return [*_cells(middle)[:-1], ", ".join(counts)]


def _number(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:.{digits}f}"


def _with_error(value: float | None, error: float | None, scale: float) -> str:
    if value is None:
        return "?"
    if error is None:
        return f"{scale * value:.0f}"
    digits = 1 if scale * error < 1 else 0
    return f"{scale * value:.{digits}f} ± {scale * error:.{digits}f}"


def _with_range(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "?"
    return f"{100 * value:.0f}" + ("" if low is None or high is None else f" ({100 * low:.0f}–{100 * high:.0f})")
