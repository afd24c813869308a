"""An output whose light goes through patterns, on a simulated card, with an interlock around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ni_rig import NiRig, ni_rig

from drivers.outputs.pattern_ttl.output import PatternTtlOutput
from rt_engine.interfaces.pattern_config import PatternTtlSettings

PATTERNS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((50.0, 50.0),),
    2: ((50.0, 50.0), (90.0, 90.0)),
    5: ((200.0, 210.0), (30.0, 40.0), (120.0, 15.0)),
}
LINES = ("port0/line8", "port0/line9", "port0/line10")
BY_LINES = {"by": "lines", "lines": LINES, "settle_ms": 6.0}
BY_COUNT = {"by": "count", "reset_line": "port0/line8", "step_line": "port0/line9", "settle_ms": 20.0}
BY_HAND = {"by": "hand"}
READY = "port0/line12"
REGISTRATION = {
    "date": "2026-11-29",
    "person": "t",
    "max_residual_px": 2.0,
    "matrix": [[0.0, 2.0, 10.0], [-3.0, 0.0, 700.0]],
    "spots": [
        [10.0, 700.0, 0.0, 0.0],
        [450.0, 700.0, 0.0, 220.0],
        [10.0, 40.0, 220.0, 0.0],
        [450.0, 40.0, 220.0, 220.0],
    ],
    "residuals_px": [0.1, 0.2, 0.3, 0.1],
}
"""x of the SLM is 10 + 2 x of the image, y is 700 - 3 y."""


def by_holoblink(port: int) -> dict[str, Any]:
    """Coordinates over TCP."""
    return {"by": "holoblink", "server": f"127.0.0.1:{port}"}


def pattern_settings(ni: dict[str, Any], select: dict[str, Any], **changes: Any) -> PatternTtlSettings:
    """Those settings of a card, with patterns."""
    numbers = [1] if select["by"] == "hand" else list(PATTERNS)
    patterns = [{"number": one, "targets_yx_px": PATTERNS[one]} for one in numbers]
    values = ni | {"driver": "pattern_ttl", "splits_beam": True, "select": select, "patterns": patterns, "primed": 1}
    values["registration"] = REGISTRATION if select["by"] == "holoblink" else None
    return PatternTtlSettings.model_validate(values | changes)


@contextmanager
def pattern_rig(select: dict[str, Any], *, ni: dict[str, Any] | None = None, **changes: Any) -> Iterator[NiRig]:
    """An `NiRig` whose output has patterns; `ni` changes the card's part."""
    with ni_rig(splits_beam=True, **(ni or {})) as rig:
        config = pattern_settings(rig.config.model_dump(mode="json"), select, **changes)
        rig.output = PatternTtlOutput("led", config, rig.clock, rig.emitted.append)
        rig.outputs["led"] = rig.output  # type: ignore[assignment]
        rig.interlock._outputs["led"] = rig.output
        yield rig
