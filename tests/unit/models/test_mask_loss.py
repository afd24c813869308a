"""What a mask of seeming activity takes from the scale of noise is known, so that it can be given back."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from rt_engine.models.detection import matched_filter
from rt_engine.models.mask_loss import Mask, clear_windows, scale_left

KERNELS = {"GCaMP6f, hold 3": (0.02, 0.2, 3, 13), "slow, hold 5": (0.1, 0.6, 5, 30)}


def filtered_noise(taps, n_frames, n_cells, seed):
    noise = np.random.default_rng(seed).standard_normal((n_frames + len(taps), n_cells))
    return np.stack([np.convolve(column, taps[::-1], "valid")[:n_frames] for column in noise.T], axis=1)


def left_by_hand(z, mask):
    """Values in windows that touch no masked frame, one frame at a time."""
    left = []
    for column in z.T:
        masked = np.zeros(len(column), bool)
        for t in np.flatnonzero(column >= mask.smallest_z):
            masked[max(0, t - mask.hold_frames - 2) : t + mask.n_after] = True
        left += [
            v for t, v in enumerate(column) if t >= mask.n_window and not masked[t - mask.n_window + 1 : t + 1].any()
        ]
    return np.array(left)


def robust_scale(values):
    """Scale of a normal law from its negative values, those beyond 2.5 of it counted as lying there."""
    wanted = 2 * quad(lambda x: min(x * x, 2.5**2) * norm.pdf(x), 0, 12)[0]
    squares = values[values < 0] ** 2
    return brentq(lambda s: np.minimum(squares, (2.5 * s) ** 2).mean() - wanted * s * s, 0.5, 2.0)


@pytest.mark.parametrize("name", KERNELS)
def test_the_share_left_is_that_of_other_noise(name):
    tau_rise_s, tau_s, hold, n_before = KERNELS[name]
    taps = matched_filter(tau_rise_s, tau_s, 30.0, hold, n_before).taps
    mask = Mask(2.5, hold, int(3 * tau_s * 30), len(taps), False)
    z = filtered_noise(taps, 3000, 200, seed=5)
    by_hand = robust_scale(left_by_hand(z, mask)) / robust_scale(z)
    found = scale_left(taps[:, None], [mask])[0]
    assert by_hand < 0.99
    assert found == pytest.approx(by_hand, abs=0.15 * (1 - by_hand))


def test_without_anything_masked_nothing_is_missing():
    taps = np.ones((4, 2))
    assert (scale_left(taps, [Mask(9.0, 3, 20, 4, False)] * 2) == 1.0).all()


def test_cells_of_different_filters_are_told_apart():
    a, b = (matched_filter(*k[:2], 30.0, *k[2:]).taps for k in KERNELS.values())
    taps = np.zeros((len(b), 3))
    taps[-len(a) :, 0] = taps[-len(a) :, 2] = a
    taps[:, 1] = b
    masks = [Mask(3.0, 3, 36, len(b), True)] * 3
    left = scale_left(taps, masks)
    assert left[0] == left[2] != left[1]


def test_a_window_is_clear_when_none_of_its_frames_is_busy():
    rng = np.random.default_rng(0)
    busy = rng.random((200, 3)) < 0.1
    clear = clear_windows(busy, 7)
    assert not clear[:6].any()
    for t in range(6, 200):
        assert (clear[t] == ~busy[t - 6 : t + 1].any(axis=0)).all()
