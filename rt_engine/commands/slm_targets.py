"""`spikeloop slm-targets`: cells of a calibration as patterns for a rig file, and as places on the SLM."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rt_engine.commands.parsers import Commands, new_command, not_negative

if TYPE_CHECKING:
    from rt_engine.services.slm_targets import TargetCell


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop slm-targets`."""
    parser = new_command(
        commands,
        "slm-targets",
        "Write cells of a calibration as patterns: for the rig file (template pixels), and for the SLM's program.",
        "spikeloop slm-targets calibration.h5 --cells 3,17,12 --cells 40 --registration slm.registration.yaml",
    )
    parser.add_argument("calibration", metavar="CAL", help="calibration of the session")
    parser.add_argument(
        "--cells", type=_cells, action="append", required=True, metavar="ID,ID", help="cells of a pattern; repeat it"
    )
    parser.add_argument("--first", type=not_negative, default=1, metavar="N", help="number of the first (default 1)")
    parser.add_argument("--registration", metavar="FILE", required=True, help="that `register-slm` has written")
    parser.add_argument("-o", "--output", metavar="FILE", default="patterns.csv", help="places on the SLM, as CSV")


def execute(arguments: argparse.Namespace) -> int:
    """A table for the SLM's program, and the lines for the rig file."""
    import csv

    from rt_engine.interfaces.calibration_planes import load_planes
    from rt_engine.services.slm_targets import load_registration, targets_of

    registration = load_registration(Path(arguments.registration))
    planes = load_planes(Path(arguments.calibration))
    patterns = [targets_of(cells, planes, registration) for cells in arguments.cells]
    with Path(arguments.output).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["pattern", "roi_id", "slm_x", "slm_y", "y_px", "x_px", "plane"])
        for number, cells in enumerate(patterns, arguments.first):
            table.writerows([number, *cell] for cell in cells)
    sys.stdout.write(f"{arguments.output}: for the program of the SLM. For the rig file:\n    patterns:\n")
    for number, cells in enumerate(patterns, arguments.first):
        sys.stdout.write(_line(number, cells))
    return 0


def _line(number: int, cells: Sequence[TargetCell]) -> str:
    places = ", ".join(f"[{cell.y_px:g}, {cell.x_px:g}]" for cell in cells)
    names = ", ".join(str(cell.roi_id) for cell in cells)
    planes = f", target_planes: {[cell.plane for cell in cells]}" if any(cell.plane for cell in cells) else ""
    return f"      - {{number: {number}, targets_yx_px: [{places}]{planes}}}   # cells {names}\n"


def _cells(text: str) -> tuple[int, ...]:
    """Cells of one pattern, each once."""
    cells = tuple(not_negative(part) for part in text.split(","))
    if len(set(cells)) < len(cells):
        raise argparse.ArgumentTypeError(f"{text} names a cell twice")
    return cells
