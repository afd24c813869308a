"""A real rig, in the dark: every part is there, frames come whole and in time, inputs tell their times.

``SPIKELOOP_RIG=my_rig.yaml pytest -m hardware tests/hardware``, with the microscope scanning. No output is opened.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time

import numpy as np
import pytest

from rt_engine.interfaces.clock import NS_PER_S, MonotonicClock
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.findings import Verdict
from rt_engine.interfaces.rig_config import RigConfig, load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.services.doctor import input_parts, rig_parts
from rt_engine.services.microscopes import make_microscope

pytestmark = pytest.mark.hardware
WATCH_S, WAIT_S = 20.0, 60.0


@pytest.fixture
def rig() -> RigConfig:
    name = os.environ.get("SPIKELOOP_RIG")
    if name is None:
        pytest.fail("these tests are for a rig: set SPIKELOOP_RIG to its file")
    return load_rig(find_rig(name))


@pytest.mark.parametrize("look", [rig_parts.microscope, rig_parts.outputs, input_parts.inputs])
def test_no_part_of_the_rig_fails(rig, look):
    failed = [str(one) for one in look(rig) if one.verdict is Verdict.FAIL]
    assert not failed


def test_frames_come_once_in_order_at_the_rate_that_is_told_and_are_dated(rig):
    microscope, found = make_microscope(rig, MonotonicClock()), []
    try:
        end_s = time.monotonic() + WAIT_S
        while (geometry := microscope.open()) is None:
            assert time.monotonic() < end_s, "no frame: let the microscope scan"
        buffer = np.zeros((geometry.n_lines, geometry.pixels_per_line), "<" + geometry.dtype)
        microscope.start()
        end_s = time.monotonic() + WATCH_S
        while time.monotonic() < end_s:
            info = microscope.read(buffer, 0.05)
            if info is not None and info.channel == rig.functional_channel and info.line0 == 0:
                assert info.t_scan_ns <= time.perf_counter_ns() or info.n_lines
                found.append(info)
    finally:
        microscope.stop()
        microscope.close()
    steps = [b.frame - a.frame for a, b in itertools.pairwise(found)]
    assert len(found) > 2
    assert steps == [1] * len(steps), "frames are missing: look at the load of this computer"
    assert not any(info.flags & FrameFlag.LOST_BEFORE for info in found)
    periods_s = [(b.t_scan_ns - a.t_scan_ns) / NS_PER_S for a, b in itertools.pairwise(found)]
    assert min(periods_s) > 0
    assert statistics.median(periods_s) * geometry.frame_rate_hz == pytest.approx(1.0, rel=0.02)
