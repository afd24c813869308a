"""The motion of the sample has the planted statistics."""

import numpy as np
import pytest

from drivers.virtual_rig.motion import Motion
from rt_engine.interfaces.sample_config import MotionConfig


def walk(n_frames, seed=1, **config):
    motion = Motion(MotionConfig(**config), 0.8, 30.0, np.random.default_rng(seed))
    return np.array([motion.step() for _ in range(n_frames)]) * 0.8


def test_jitter_has_its_rms():
    um = walk(60_000, jump_rate_hz=0, drift_um=0)
    assert um.std(axis=0) == pytest.approx([0.3, 0.3], rel=0.05)


def test_jumps_have_their_rate_and_size():
    um = walk(60_000, jitter_um=0, drift_um=0, jump_rate_hz=0.2, jump_return_s=1.0)
    step = np.hypot(*np.diff(um, axis=0).T)
    jumps = step[step > 0.8]
    assert len(jumps) == pytest.approx(400, abs=4 * 20)
    assert jumps.max() < 6
    assert np.median(jumps) == pytest.approx(3, abs=0.5)


def test_drift_starts_at_zero_and_stays_slow():
    um = walk(3000, jitter_um=0, jump_rate_hz=0)
    assert np.abs(um[0]).max() < 0.1
    assert np.abs(np.diff(um, axis=0)).max() < 0.1


def test_displacement_is_bounded():
    assert np.abs(walk(3000, drift_um=15, drift_time_constant_s=2, max_um=4)).max() <= 4


def test_jumps_do_not_change_the_jitter_of_the_same_seed():
    calm, jumpy = walk(50, jump_rate_hz=0), walk(50, jump_rate_hz=5.0)
    first = int(np.argmax(np.hypot(*(jumpy - calm).T) > 0.5))
    assert first > 0
    np.testing.assert_array_equal(calm[:first], jumpy[:first])
