"""Constants of cells survive the way through wire and journal bit for bit."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_session import make_calibration

from rt_engine.interfaces.calibration_bytes import pack_cells, unpack_cells
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.threshold_law import unknown_law


def test_every_array_of_the_cells_comes_back_and_the_field_is_that_of_the_receiver(tmp_path: Path) -> None:
    sent = make_calibration(tmp_path / "sent.h5", [(20, 20), (40, 40)])
    sent = replace(sent, threshold_law=unknown_law(2), n_baseline_frames=1234)
    field = make_calibration(tmp_path / "field.h5", [(30, 30)])
    found = unpack_cells(pack_cells(sent), field)
    assert found.n_baseline_frames == 1234
    assert found.template is field.template
    for item in fields(found):
        one, other = getattr(found, item.name), getattr(sent, item.name)
        if isinstance(other, np.ndarray) and item.name not in ("template", "correlation_image"):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
    assert found.threshold_law is not None
    np.testing.assert_array_equal(found.threshold_law.peaks, unknown_law(2).peaks)
    assert found.uncertainty is None


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xc1", b"\x81\xa1a\x01"])
def test_other_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(MessageError, match="constants of cells cannot be read"):
        unpack_cells(data, make_calibration(tmp_path / "field.h5", [(30, 30)]))
