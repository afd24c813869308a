"""Where each region of a ScanImage picture lies: multiple ROIs (mROI) are stacked, with lines of flight between."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rt_engine.interfaces.errors import MovieError

_REMEDY = "give every ROI one resolution and all of the depths, or image without mROI"


class ScanField(NamedTuple):
    """One region: lines `line0` to `line0 + n_lines` of the picture, its whole width. `um_per_px`: None if unknown."""

    name: str
    line0: int
    n_lines: int
    um_per_px: float | None = None

    @property
    def end(self) -> int:
        """The line behind its last one."""
        return self.line0 + self.n_lines


def read_scanfields(
    value: Callable[[str], str], groups: object, shape: tuple[int, int], file: str
) -> tuple[ScanField, ...]:
    """The regions of a picture, from its top; none where ScanImage did not image multiple ROIs.

    Parameters
    ----------
    value : callable
        What the header says of a key like ``hRoiManager.mroiEnable``; empty where nothing.
    groups : object
        The ROI groups of the file, decoded from JSON: a mapping with or without the key ``RoiGroups``.
    shape : tuple of int
        Lines and pixels of the picture.
    file : str
        For messages.

    Returns
    -------
    tuple of ScanField

    Raises
    ------
    MovieError
        Multiple ROIs were imaged, and where each lies cannot be told for certain.

    Notes
    -----
    ScanImage stacks the scanfields of a frame in the order of its ROI group, and between two of them are the lines that
    passed while the mirrors flew: all gaps have one size, and there is none before the first and behind the last.
    At several depths every picture holds those regions that are there: they are taken apart where all are everywhere.
    What does not add up is refused, not guessed: a wrong line would mix two regions in one registration.
    """
    if value("hRoiManager.mroiEnable").lower() not in ("true", "1"):
        return ()
    regions = [one for one in _regions(groups) if one.get("enable", 1)]
    if not regions:
        raise MovieError("says that multiple ROIs were imaged, and not where they lie", _REMEDY, file=file)
    if value("hFastZ.enable").lower() in ("true", "1"):
        _require_everywhere(regions, _numbers(value("hStackManager.zs")), file)
    elif any(one.get("discretePlaneMode") for one in regions) and len({str(one.get("zs")) for one in regions}) > 1:
        raise MovieError("has ROIs at different depths, of which some are not in the picture", _REMEDY, file=file)
    sizes = [_size(one, file) for one in regions]
    n_lines, n_pixels = shape
    if {pixels for pixels, _ in sizes} != {n_pixels}:
        told = ", ".join(f"{pixels} x {lines}" for pixels, lines in sizes)
        raise MovieError(f"has ROIs of {told} pixels in pictures {n_pixels} wide", _REMEDY, file=file)
    gap = _gap(n_lines, [lines for _, lines in sizes], file)
    um_per_degree, found, line0 = _number(value("objectiveResolution")), [], 0
    for i, (region, (pixels, lines)) in enumerate(zip(regions, sizes, strict=True)):
        name = str(region.get("name") or f"ROI {i + 1}")
        found.append(ScanField(name, line0, lines, _um_per_px(region, pixels, um_per_degree)))
        line0 += lines + gap
    return tuple(found)


def decoded_groups(text: str) -> object:
    """The ROI groups of their JSON; None where it is none."""
    try:
        return json.loads(text.rstrip("\0 \n"))
    except ValueError:
        return None


def chosen_fields(found: tuple[ScanField, ...], names: Sequence[str] | None, file: str) -> tuple[ScanField, ...]:
    """Regions that are to be planes of one run, in order.

    Parameters
    ----------
    found : tuple of ScanField
        All that there are.
    names : sequence of str or None
        Those that are asked for; None: all.
    file : str
        For messages.

    Raises
    ------
    MovieError
        There is none of that name, or they have different sizes.
    """
    there = {one.name: one for one in found}
    for name in names or ():
        if name not in there:
            told = ", ".join(there) or "none, for ScanImage does not image multiple ROIs"
            raise MovieError(f"has no ROI {name!r}", f"its ROIs are {told}; see `fields`", file=file)
    fields = found if names is None else tuple(there[name] for name in names)
    if len({one.n_lines for one in fields}) > 1:
        told = ", ".join(f"{one.name} ({one.n_lines} lines)" for one in fields)
        raise MovieError(f"has ROIs of different size: {told}", "name those of one size in `fields`", file=file)
    return fields


def plane_names(fields: Sequence[ScanField], n_depths: int) -> tuple[str, ...]:
    """Names of the planes in the order in which they are scanned: every region of a depth, depth after depth."""
    depths = [f", depth {depth + 1}" for depth in range(n_depths)] if n_depths > 1 else [""]
    return tuple(one.name + depth for depth in depths for one in fields)


def _regions(groups: object) -> list[dict[str, Any]]:
    """ROIs of the imaging group, in order; MATLAB writes a list of one as the thing itself."""
    inner = groups.get("RoiGroups", groups) if isinstance(groups, dict) else None
    group = inner.get("imagingRoiGroup") if isinstance(inner, dict) else None
    rois = group.get("rois") if isinstance(group, dict) else None
    found = rois if isinstance(rois, list) else [rois]
    return [one for one in found if isinstance(one, dict)]


def _scanfields(region: dict[str, Any]) -> list[dict[str, Any]]:
    found = region.get("scanfields")
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]


def _require_everywhere(regions: list[dict[str, Any]], depths_um: tuple[float, ...], file: str) -> None:
    """Refuse regions that are not in the picture of every depth.

    One with a single scanfield is at all depths, unless it is confined to its own (`discretePlaneMode`); one with
    several is between the outermost of them.
    """
    for i, region in enumerate(regions):
        confined = bool(region.get("discretePlaneMode"))
        own_um = _numbers(str(region.get("zs")))
        if not confined and len(_scanfields(region)) < 2:
            continue
        if confined:
            there = [z for z in depths_um if z in own_um]
        else:
            there = [z for z in depths_um if own_um and min(own_um) <= z <= max(own_um)]
        if not depths_um or len(there) < len(depths_um):
            told = ", ".join(f"{z:g}" for z in depths_um) or "unknown"
            own = ", ".join(f"{z:g}" for z in own_um) or "unknown"
            text = f"has ROI {region.get('name') or i + 1!r} at {own} um, and depths of {told} um"
            raise MovieError(f"{text}: whose the lines of each picture are is not certain", _REMEDY, file=file)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(one) for one in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text))


def _size(region: dict[str, Any], file: str) -> tuple[int, int]:
    """Pixels and lines; the same at every depth."""
    sizes = {tuple(one.get("pixelResolutionXY") or ()) for one in _scanfields(region)}
    size = next(iter(sizes)) if len(sizes) == 1 else ()
    if len(size) != 2 or not all(isinstance(one, int | float) and one >= 1 for one in size):
        raise MovieError(f"does not tell the pixels of ROI {region.get('name')!r} for certain", _REMEDY, file=file)
    return int(size[0]), int(size[1])


def _gap(n_lines: int, heights: list[int], file: str) -> int:
    """Lines of flight between two regions."""
    left, gaps = n_lines - sum(heights), len(heights) - 1
    if left < 0 or (left % gaps if gaps else left):
        text = f"has pictures of {n_lines} lines, and ROIs of {' + '.join(map(str, heights))}: the lines between them"
        raise MovieError(f"{text} do not come out even", _REMEDY, file=file)
    return left // gaps if gaps else 0


def _um_per_px(region: dict[str, Any], n_pixels: int, um_per_degree: float | None) -> float | None:
    size = (_scanfields(region)[0].get("sizeXY") or [None])[0]
    if um_per_degree is None or not isinstance(size, int | float) or size <= 0:
        return None
    return float(size) * um_per_degree / n_pixels


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number > 0 else None
