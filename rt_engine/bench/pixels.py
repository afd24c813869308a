"""`spikeloop bench pixels`: from pixels to traces, against what others do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from rt_engine.bench.cells_found import cells_rows
from rt_engine.bench.demixing_cost import demixing_rows
from rt_engine.bench.extraction_cost import extraction_rows
from rt_engine.bench.kernels import machine
from rt_engine.bench.neuropil_error import neuropil_rows
from rt_engine.bench.registration_cost import registration_rows
from rt_engine.bench.rounds import Row
from rt_engine.bench.strip_delay import strip_rows

N_ROUNDS = 9
PARTS: tuple[tuple[str, Callable[[int], list[Row]]], ...] = (
    ("registration", registration_rows),
    ("extraction", extraction_rows),
    ("demixing", demixing_rows),
    ("strips", strip_rows),
    ("neuropil", neuropil_rows),
    ("cells", cells_rows),
)
"""Name of a part, and what gives its rows for a number of rounds."""


def run_pixel_benchmark(n_rounds: int, progress: Callable[[str, float], None]) -> dict[str, Any]:
    """Measure every part.

    Parameters
    ----------
    n_rounds : int
    progress : Callable
        Told the name of the part and the share that is done.

    Returns
    -------
    dict
        ``machine``; ``n_rounds``; ``rows``: name to ``unit``, ``value`` [median, lowest, highest], and ``bound`` and
        ``met`` where something was promised.

    Raises
    ------
    SpikeloopError
        What a part compares with is not installed.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, rows_of in PARTS:
        progress(name, 0.0)
        for row in rows_of(n_rounds):
            rows[row.name] = {"unit": row.unit, "value": row.value}
            if row.bound is not None:
                rows[row.name] |= {"bound": f"{row.bound[0]} {row.bound[1]:g}", "met": row.met}
        progress(name, 1.0)
    return {"machine": machine(), "n_rounds": n_rounds, "rows": rows}


def print_rows(figures: dict[str, Any], console: Console) -> None:
    """All rows as a table."""
    table = Table("", "median", "range", "unit", "bound", "met")
    for name, row in figures["rows"].items():
        median, lowest, highest = row["value"]
        met = {True: "yes", False: "no", None: ""}[row.get("met")]
        table.add_row(name, f"{median:.3g}", f"{lowest:.3g} to {highest:.3g}", row["unit"], row.get("bound", ""), met)
    console.print(table)
