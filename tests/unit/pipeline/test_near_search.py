"""The search near the last shift finds what the search of all lags finds, and gives up where it must."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import fourier_shift, gaussian_filter

from rt_engine.pipeline.near_search import SURE_FRAMES
from rt_engine.pipeline.registration import HOLD_OFF_FRAMES, RigidRegistration


def _field(side: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    cells = np.zeros((side, side))
    cells[rng.integers(0, side, 60), rng.integers(0, side, 60)] = rng.uniform(1, 3, 60)
    image = gaussian_filter(cells, 3.0)
    return 40.0 * image / image.max() + 4.0


def _frame(image: NDArray[np.float64], shift: tuple[float, float], rng: np.random.Generator) -> NDArray[np.uint16]:
    moved = np.fft.ifft2(fourier_shift(np.fft.fft2(image), shift)).real
    return rng.poisson(20 * np.maximum(moved, 0.0)).astype(np.uint16)


def _registration(image: NDArray[np.float64], max_shift_px: float) -> RigidRegistration:
    return RigidRegistration((20 * image).astype(np.float32), max_shift_px, verifies_coarsely=True)


def _settled(image: NDArray[np.float64], rng: np.random.Generator, max_shift_px: float = 8.0) -> RigidRegistration:
    registration = _registration(image, max_shift_px)
    for _ in range(SURE_FRAMES + 2):
        registration.process(_frame(image, (0.0, 0.0), rng))
    return registration


@pytest.mark.parametrize("side", [128, 256])
def test_both_searches_agree_on_a_sample_that_drifts(side: int) -> None:
    rng = np.random.default_rng(1)
    image = _field(side, 2)
    near, everywhere = _settled(image, rng), _registration(image, 8.0)
    n_near = 0
    for step in range(40):
        shift = (4.0 * np.sin(step / 6), 3.0 * np.cos(step / 5) - 3.0)
        frame = _frame(image, shift, rng)
        near.process(frame)
        n_near += near.searched_near
        everywhere.process(frame)
        everywhere.forget_last_shift()
        assert not everywhere.searched_near
        assert near.shift_y_px == pytest.approx(everywhere.shift_y_px, abs=1e-3)
        assert near.shift_x_px == pytest.approx(everywhere.shift_x_px, abs=1e-3)
        assert near.quality == pytest.approx(everywhere.quality, abs=1e-4)
        assert not near.jumped
        assert near.shift_y_px == pytest.approx(shift[0], abs=0.1)
    assert n_near > 30


def test_a_jump_beyond_reach_is_found_in_the_same_frame() -> None:
    rng = np.random.default_rng(3)
    image = _field(128, 4)
    registration = _settled(image, rng)
    registration.locate(_frame(image, (6.5, -7.0), rng))
    assert not registration.searched_near
    assert registration.shift_y_px == pytest.approx(6.5, abs=0.2)
    assert registration.shift_x_px == pytest.approx(-7.0, abs=0.2)
    assert registration.jumped


@pytest.mark.parametrize(("side", "away"), [(128, (7, 6)), (256, (14, 12))])
def test_a_false_peak_nearby_is_corrected_when_all_lags_are_looked_at(side: int, away: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    image = _field(side, 6)
    registration = _settled(image, rng, max_shift_px=side / 16)
    # Two images of the sample: the faint one where it was, the bright one out of reach of a few steps.
    both = 0.8 * image + np.roll(image, away, (0, 1))
    registration.locate(_frame(both, (0.0, 0.0), rng))
    assert registration.searched_near
    assert abs(registration.shift_y_px) < 1.0
    registration.verify()
    assert registration.shift_y_px == pytest.approx(away[0], abs=0.3)
    assert registration.shift_x_px == pytest.approx(away[1], abs=0.3)
    jumped = []
    for _ in range(HOLD_OFF_FRAMES + 2):
        registration.process(_frame(np.roll(image, away, (0, 1)), (0.0, 0.0), rng))
        jumped.append(registration.jumped)
    assert jumped[:HOLD_OFF_FRAMES] == [True] * HOLD_OFF_FRAMES
    assert not jumped[-1]


def test_a_coarse_look_that_errs_moves_and_mutes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    image = _field(256, 8)
    registration = _settled(image, rng, max_shift_px=16.0)
    check = registration._check
    assert check.bin_px == 4
    monkeypatch.setattr(check, "look", lambda: np.copyto(check.peak, [4.0, -4.0, 1.0]))
    for _ in range(2):
        registration.process(_frame(image, (0.0, 0.0), rng))
        assert registration.searched_near
        assert not registration.jumped
        assert abs(registration.shift_y_px) < 0.2
