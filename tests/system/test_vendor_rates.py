"""Every vendor's simulator at twice its real rate: no frame is lost without a word."""

from __future__ import annotations

import os

import pytest
from vendor_rates import VENDORS, drive

SECONDS = float(os.environ.get("SPIKELOOP_VENDOR_S", "60"))


@pytest.mark.realtime
@pytest.mark.parametrize("kind", sorted(VENDORS))
def test_no_frame_is_lost_without_a_word_at_twice_the_real_rate(kind, tmp_path):
    found = drive(kind, SECONDS, tmp_path, [])
    assert found["unreported"] == 0, found
    assert found["broken"] == 0, found
    assert found["came"] > 0.5 * SECONDS * found["rate_hz"], found
