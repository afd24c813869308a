"""Which structural lines belong to which functional ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rt_engine.interfaces.messages import FrameHeader
from rt_engine.interfaces.rig_config import RigConfig, load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.services.structural_lines import StructuralLines

N_LINES = 8


def _lines(frame: int, line0: int = 0, n_lines: int = N_LINES) -> tuple[FrameHeader, NDArray[Any]]:
    header = FrameHeader(
        source="s", host="h", boot_id="b", seq=0, t_sent_ns=0, plane=0, channel=1, frame=frame, volume=None,
        line0=line0, n_lines=n_lines, lines_per_frame=N_LINES, pixels_per_line=4, dtype="u2", adc_max=None, offset=None,
        frame_period_ns=None, line_period_ns=None, t_scan_ns=0, t_scan_uncertainty_ns=None, t_device_s=None, flags=0,
    )  # fmt: skip
    return header, np.full((n_lines, 4), 100 * frame + line0, np.uint16)


def nobody(frame: int, n_alone: int) -> None:
    """Hears of frames without their structural lines."""


def _message(frame: int, line0: int = 0, n_lines: int = N_LINES) -> tuple[FrameHeader, memoryview, int]:
    header, lines = _lines(frame, line0, n_lines)
    return header, lines.data.cast("B"), 1000 * frame


def test_functional_lines_wait_for_their_partner_and_go_on_alone_when_the_next_come() -> None:
    alone: list[tuple[int, int]] = []
    kept = StructuralLines(lambda frame, n: alone.append((frame, n)))
    assert list(kept.pair(is_structural=False, message=_message(1))) == []
    [(image, first)] = kept.pair(is_structural=True, message=_message(1))
    assert image is not None
    assert (image[0, 0], first[0].frame, first[2]) == (100, 1, 1000)
    assert list(kept.pair(is_structural=True, message=_message(2))) == []
    [(image, second)] = kept.pair(is_structural=False, message=_message(2))
    assert image is not None
    assert (image[0, 0], second[0].frame) == (200, 2)
    assert list(kept.pair(is_structural=False, message=_message(3))) == []
    [(image, third)] = kept.pair(is_structural=False, message=_message(4))
    assert (image, third[0].frame) == (None, 3)
    assert alone == [(3, 1)]


def test_a_whole_frame_covers_its_partner_and_no_other() -> None:
    kept = StructuralLines(nobody)
    assert not kept.covers(_lines(0)[0])
    kept.take(*_lines(5))
    assert kept.covers(_lines(5)[0])
    assert kept.covers(_lines(5, 2, 2)[0])
    assert not kept.covers(_lines(6)[0])
    assert kept.image is not None
    assert kept.image[0, 0] == 500


def test_strips_cover_as_far_as_they_have_come() -> None:
    kept = StructuralLines(nobody)
    kept.take(*_lines(1, 0, 4))
    assert kept.covers(_lines(1, 0, 4)[0])
    assert not kept.covers(_lines(1, 4, 4)[0])
    kept.take(*_lines(1, 4, 4))
    assert kept.covers(_lines(1, 4, 4)[0])
    assert kept.image is not None
    np.testing.assert_array_equal(kept.image[:, 0], [100] * 4 + [104] * 4)


def test_after_missing_lines_the_frame_covers_nothing() -> None:
    kept = StructuralLines(nobody)
    kept.take(*_lines(1, 0, 2))
    kept.take(*_lines(1, 4, 2))
    assert not kept.covers(_lines(1, 0, 2)[0])
    kept.take(*_lines(2, 0, 2))
    assert kept.covers(_lines(2, 0, 2)[0])


def test_the_rig_file_refuses_what_cannot_be() -> None:
    stream = load_rig(find_rig("stream")).model_dump()
    assert RigConfig.model_validate(stream | {"registration_channel": 1}).registration_channel == 1
    with pytest.raises(ValueError, match="which is read; leave it out"):
        RigConfig.model_validate(stream | {"registration_channel": 0})
    virtual = load_rig(find_rig("virtual_rig")).model_dump()
    with pytest.raises(ValueError, match=r"only with microscope\.structural_photons"):
        RigConfig.model_validate(virtual | {"registration_channel": 1})
    virtual["microscope"]["structural_photons"] = 5.0
    assert RigConfig.model_validate(virtual | {"registration_channel": 1}).registration_channel == 1
    with pytest.raises(ValueError, match="that of the virtual rig is 1"):
        RigConfig.model_validate(virtual | {"registration_channel": 2})
