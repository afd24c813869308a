"""`spikeloop register-slm`: where on an SLM a place of the image is, from spots that were lit."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rt_engine.commands.parsers import Commands, new_command, positive


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop register-slm`."""
    parser = new_command(
        commands,
        "register-slm",
        "Map places of the image to an SLM (or galvos) from spots lit there: clicked, or burned and found in images.",
        "spikeloop register-slm spots.csv --person ME -o slm.registration.yaml",
    )
    parser.add_argument("spots", metavar="SPOTS", help="CSV: slm_x, slm_y, y_px, x_px (the last two: without --burned)")
    parser.add_argument("--person", metavar="NAME", required=True, help="who measures; stands in the file")
    parser.add_argument(
        "--burned", metavar="TIFF", nargs="+", help="an image before all spots, then one after each, in the CSV's order"
    )
    parser.add_argument(
        "--max-residual-px", type=positive, default=2.0, metavar="R", help="refuse above it (default 2.0)"
    )
    parser.add_argument("-o", "--output", metavar="FILE", default="slm.registration.yaml", help="file to write")


def execute(arguments: argparse.Namespace) -> int:
    """Spots, map, picture; a file only where the map holds."""
    from pathlib import Path

    import yaml

    from rt_engine.interfaces.errors import CalibrationError
    from rt_engine.services import slm_registration as slm

    path, spots_path = Path(arguments.output), Path(arguments.spots)
    images = _images(arguments.burned) if arguments.burned else None
    found = None if images is None else slm.find_burned([one for _, one in images], [name for name, _ in images])
    spots = slm.read_spots(spots_path, found)
    table, refused = slm.register(spots, arguments.person, arguments.max_residual_px)
    picture = path.with_suffix(".png")
    slm.draw(table, picture, spots_path.name, refused=refused, image=images[-1][1] if images else None)
    _tell(table)
    if refused:
        text = f"{refused}; every spot stands in {picture}"
        raise CalibrationError(text, "look at that spot: clicked wrongly, wrong order, or the sample has moved")
    path.write_text(yaml.safe_dump(table, sort_keys=False), encoding="utf-8")
    sys.stdout.write(f"{path}, {picture}. In the rig file:  registration: {path.name}\n")
    return 0


def _images(names: list[str]) -> list[tuple[str, Any]]:
    """Every image, the mean of the frames of a file; a single file is a stack of images.

    Raises
    ------
    ConfigError
        A file cannot be read as images.
    """
    import numpy as np
    import tifffile

    from rt_engine.interfaces.errors import ConfigError

    read = []
    for name in names:
        try:
            read.append((name, tifffile.imread(name)))
        except (OSError, ValueError, tifffile.TiffFileError) as error:
            raise ConfigError(f"is no TIFF that can be read: {error}", file=name) from error
    if len(read) == 1 and read[0][1].ndim == 3:
        return [(f"{names[0]}, image {i + 1}", one) for i, one in enumerate(read[0][1])]
    means = [(name, np.mean(one, axis=0) if one.ndim == 3 else one) for name, one in read]
    odd = next((name for name, one in means if one.ndim != 2), None)
    if odd is not None:
        raise ConfigError("holds more than frames of one plane and channel", "save the one plane and channel", file=odd)
    if len(means) < 2:
        raise ConfigError("is one image", "one before all spots, then one after each", file=names[0])
    return means


def _tell(table: dict[str, Any]) -> None:
    """Each spot, and what kind of map it is."""
    import numpy as np

    linear = np.array(table["matrix"])[:, :2]
    large, small = np.linalg.svd(linear, compute_uv=False)
    # (x, y) of both sides: a map that keeps the hand has a positive determinant.
    mirrored = np.linalg.det(linear[:, ::-1]) < 0
    turned_deg = np.degrees(np.arctan2(linear[1, 1], linear[0, 1]))
    sys.stdout.write("spot   slm_x    slm_y     y_px     x_px   missed by (px)\n")
    for i, (spot, missed) in enumerate(zip(table["spots"], table["residuals_px"], strict=True), 1):
        slm_x, slm_y, y_px, x_px = spot
        sys.stdout.write(f"{i:4} {slm_x:8.1f} {slm_y:8.1f} {y_px:8.2f} {x_px:8.2f} {missed:8.2f}\n")
    hand = "mirrored" if mirrored else "not mirrored"
    sys.stdout.write(f"{small:.4g} to {large:.4g} SLM units a pixel, turned by {turned_deg:.1f} degrees, {hand}\n")
