"""What the session says of the field, read with care: it is somebody else's message."""

from __future__ import annotations

import math
from typing import Any

from pydantic import ValidationError

from gui.model.live import LiveModel
from rt_engine.interfaces.rig_config import RigConfig


def um_per_px(model: LiveModel) -> float | None:
    """Pixel size, micrometres; None if it is not known."""
    value = _dig(model, "rig", "microscope", "um_per_px")
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good and 1e-3 < value < 1e3 else None


def planes_inferred(model: LiveModel) -> tuple[int, ...]:
    """Planes that have an inference service, as the session's rig says; empty if it cannot be understood."""
    config = model.session.config.get("rig") if model.session else None
    if not isinstance(config, dict):
        return ()
    try:
        return RigConfig.model_validate(config).planes_inferred
    except ValidationError:
        return ()


def exclusion_zones(model: LiveModel) -> list[tuple[float, float, float]]:
    """Zones of all outputs: y, x and radius, pixels of the template."""
    header = model.state.header
    if header is None:
        return []
    found = []
    for limits in list(header.limits.values())[:32]:
        zones = limits.get("exclusion_zones")
        for zone in zones[:200] if isinstance(zones, list) else ():
            if isinstance(zone, dict):
                values: list[Any] = [zone.get(name) for name in ("y_px", "x_px", "radius_px")]
                if all(isinstance(one, int | float) and math.isfinite(one) for one in values):
                    found.append((float(values[0]), float(values[1]), float(values[2])))
    return found


def _dig(model: LiveModel, *keys: str) -> Any:
    value: Any = model.session.config if model.session else None
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
