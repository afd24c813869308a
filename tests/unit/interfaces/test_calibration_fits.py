"""A calibration made for another size, zoom, indicator, plane or channel is refused with what differs and a remedy."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import pytest

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.errors import CalibrationError


def calibration(**changes: Any) -> Calibration:
    required = [f.name for f in fields(Calibration) if f.default is MISSING and f.default_factory is MISSING]
    values: dict[str, Any] = {name: np.zeros(0, np.float32) for name in required}
    values |= {"n_lines": 64, "pixels_per_line": 96, "um_per_px": 0.8, "indicator": "GCaMP6s", "plane": 1, "channel": 2}
    return Calibration(**(values | changes))


FITS: dict[str, Any] = {"um_per_px": 0.8, "indicator": "GCaMP6s", "plane": 1, "channel": 2}


def test_what_it_was_made_for_fits() -> None:
    calibration().require_fits(64, 96, "c.h5", **FITS)
    calibration().require_fits(64, 96, "c.h5", **FITS | {"indicator": "gcamp6S", "um_per_px": 0.81})


@pytest.mark.parametrize("unknown", [*FITS, "size"])
def test_what_is_unknown_is_not_compared(unknown: str) -> None:
    size = (None, None) if unknown == "size" else (64, 96)
    known = {name: value for name, value in FITS.items() if name != unknown}
    calibration().require_fits(*size, "c.h5", **known)
    calibration(um_per_px=float("nan")).require_fits(64, 96, "c.h5", **FITS)


@pytest.mark.parametrize(
    ("size", "change", "message", "remedy"),
    [
        ((96, 64), {}, "96 x 64 px, the calibration was made for 64 x 96", "calibrate again"),
        ((64, 64), {}, "64 x 64", "calibrate again"),
        ((64, 96), {"um_per_px": 0.4}, "0.4 µm per pixel, the calibration was made at 0.8", "zoom"),
        ((64, 96), {"um_per_px": 0.82}, "0.82", "zoom"),
        ((64, 96), {"indicator": "jGCaMP8m"}, "jGCaMP8m, the calibration was made for GCaMP6s", "--indicator"),
        ((64, 96), {"plane": 0}, "plane 0, the calibration was made for plane 1", "--plane 1"),
        ((64, 96), {"channel": 0}, "channel 0, the calibration was made for channel 2", "--channel 2"),
    ],
)
def test_what_differs_is_named_with_the_file_and_a_remedy(
    size: tuple[int, int], change: dict[str, Any], message: str, remedy: str
) -> None:
    with pytest.raises(CalibrationError) as refused:
        calibration().require_fits(*size, "c.h5", **FITS | change)
    assert refused.value.message.startswith("c.h5: ")
    assert message in refused.value.message
    assert remedy in refused.value.remedy
