"""Registration flags what moved, and no frame whose cells only fire. Rates over more frames: tests/motion_rates.py."""

from __future__ import annotations

import numpy as np
import pytest
from motion_rates import (
    LOSSES,
    MOVING,
    STILL,
    RealMovie,
    Rig,
    caught_losses,
    false_flags,
    flags_while_cells_fire_together,
    lateral_jumps,
    movie_path,
)

MAX_FALSE = 0.003
"""Part of the frames in plane that may be flagged."""
MAX_FALSE_IN_VOLLEYS = 0.005


def test_jumps_beyond_2_px_are_flagged_and_smaller_ones_are_simply_followed() -> None:
    jumps = lateral_jumps(256, 400, seed=4)
    assert jumps.n_above >= 10
    assert jumps.caught_above == jumps.n_above
    assert jumps.flagged_below <= MAX_FALSE * jumps.n_below
    assert jumps.rms_px <= 0.15


def test_cells_that_lose_light_all_at_once_are_flagged_in_their_first_frame() -> None:
    rig = Rig(512, 3, MOVING)
    assert false_flags(rig, 150) == 0
    for loss in LOSSES:
        caught = caught_losses(rig, loss, 5)
        assert caught.first >= (0.8 if loss < 0.5 else 1.0)
        assert caught.between <= 1 / 200


@pytest.mark.parametrize("seed", [3, 5, 8])
def test_a_small_dim_field_is_flagged_where_all_its_cells_are_lost(seed: int) -> None:
    rig = Rig(128, seed, MOVING)
    assert false_flags(rig, 1000) <= MAX_FALSE * 1000
    assert caught_losses(rig, 1.0, 8).all_frames >= 0.9


@pytest.mark.parametrize(("size_px", "n_volleys"), [(512, 10), (128, 40)])
def test_cells_that_fire_together_are_no_motion(size_px: int, n_volleys: int) -> None:
    rig = Rig(size_px, 3, STILL)
    false_flags(rig, 100)
    flagged, n_frames = flags_while_cells_fire_together(rig, n_volleys)
    assert flagged <= MAX_FALSE_IN_VOLLEYS * n_frames


def test_the_contrast_is_that_of_the_planted_structure_and_not_of_brightness_or_activity() -> None:
    rig = Rig(512, 3, STILL)
    false_flags(rig, 60)
    registration = rig.gate.registration
    usual = np.median([(rig.frame(), registration.contrast)[1] for _ in range(20)])
    brighter = rig.some_brighter(0.2, 3.0, np.random.default_rng(1))
    active = np.median([(rig.frame(brighter), registration.contrast)[1] for _ in range(20)])
    lost = np.median([(rig.frame(0.5), registration.contrast)[1] for _ in range(20)])
    assert active >= 0.98 * usual
    assert lost < 0.75 * usual


@pytest.fixture(scope="module")
def movie() -> RealMovie:
    if not movie_path().exists():
        pytest.skip(f"{movie_path()} is missing")
    return RealMovie(movie_path())


def test_real_frames_are_not_flagged(movie: RealMovie) -> None:
    flagged, n_frames = movie.false_flags()
    assert flagged <= MAX_FALSE * n_frames


def test_another_image_in_a_real_movie_is_flagged_in_every_frame(movie: RealMovie) -> None:
    caught = movie.caught(None)
    assert (caught.first, caught.all_frames) == (1.0, 1.0)
    assert caught.between <= 1 / 40, "the way back is a jump as well, nothing else is"


def test_real_cells_that_lose_most_of_their_light_are_flagged(movie: RealMovie) -> None:
    for loss, least in ((0.7, 0.75), (1.0, 0.95)):
        caught = movie.caught(loss)
        assert caught.first >= least
        assert caught.between <= MAX_FALSE


@pytest.mark.parametrize(("size_px", "flagged"), [(1, 0.0), (3, 1.0), (5, 1.0)])
def test_whole_pixel_moves_of_a_real_movie_are_followed(movie: RealMovie, size_px: int, flagged: float) -> None:
    part, largest_px = movie.jumps(size_px)
    assert part == flagged
    assert largest_px <= 0.25
