"""Which plane's engine a command about cells is for: the numbers of the cells say it, else the person."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rt_engine.interfaces.calibration_planes import ROI_ID_BLOCK
from rt_engine.interfaces.errors import ConfigError


def by_plane(cmd: str, args: dict[str, Any], planes: Collection[int]) -> dict[int, dict[str, Any]]:
    """Arguments for the engine of every plane that has to do something.

    Parameters
    ----------
    cmd : str
        ``rois_edit`` or ``set_threshold``.
    args : dict
        Of the command. `plane` may say the plane; of candidates and masks of several planes it must.
    planes : collection of int
        Planes that are inferred.

    Returns
    -------
    dict of int to dict
        A rate of false events is for every plane, thresholds for the planes of their cells.

    Raises
    ------
    ConfigError
        No such plane, cells of several planes in one edit, or the plane is not said.
    """
    if "plane" in args:
        return {_known(args["plane"], planes): args}
    if len(planes) == 1:
        return dict.fromkeys(planes, args)
    if isinstance(args.get("thresholds"), dict):
        found: dict[int, dict[str, Any]] = {}
        for roi_id, z in args["thresholds"].items():
            own = found.setdefault(_known(_plane_of(roi_id), planes), args | {"thresholds": {}})
            own["thresholds"][roi_id] = z
        return found
    if isinstance(args.get("roi_ids"), list | tuple) and args["roi_ids"]:
        named = {_known(_plane_of(roi_id), planes) for roi_id in args["roi_ids"]}
        if len(named) > 1:
            raise ConfigError(f"the cells lie in the planes {sorted(named)}", "edit one plane at a time", key="roi_ids")
        return {named.pop(): args}
    if cmd == "set_threshold":
        return dict.fromkeys(planes, args)
    raise ConfigError("several planes are inferred", f"say which is meant: {sorted(planes)} (ctl --plane)", key="plane")


def _plane_of(roi_id: Any) -> int:
    try:
        return int(roi_id) // ROI_ID_BLOCK
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{roi_id!r} is no cell", "give the roi_id that topic rois tells", key="roi_id") from None


def _known(plane: Any, planes: Collection[int]) -> int:
    if not isinstance(plane, int) or plane not in planes:
        raise ConfigError(f"no plane {plane!r} is inferred", f"known: {sorted(planes)}", key="plane")
    return int(plane)
