"""`simulate` writes a movie that tells its rate, and the truth beside it."""

import numpy as np
import pytest
import tifffile

from drivers.microscopes.movie_file import open_movie
from drivers.virtual_rig.sample import VirtualSample
from drivers.virtual_rig.simulate import simulate
from drivers.virtual_rig.volume import VirtualVolume
from rt_engine.interfaces.errors import RecordingError
from rt_engine.interfaces.rig_config import VirtualMicroscope

RIG = VirtualMicroscope(
    driver="virtual", frame_rate_hz=29.97, n_lines=64, pixels_per_line=48, sample={"n_cells": 5, "seed": 99}
)


def test_movie_and_truth_are_those_of_the_sample(tmp_path):
    seen = []
    (truth_path,) = simulate(RIG, 1.5, tmp_path / "movie.tif", 7, lambda done, total: seen.append((done, total)))
    movie = tifffile.imread(tmp_path / "movie.tif")
    assert truth_path == tmp_path / "movie.truth.npz"
    assert movie.shape == (45, 64, 48)
    assert movie.dtype == np.uint16
    sample = VirtualSample(RIG.sample.model_copy(update={"seed": 7}), 64, 48, 0.8, 29.97)
    frame = np.zeros((64, 48), dtype=np.uint16)
    with np.load(truth_path) as truth:
        for k in range(45):
            told = sample.render(k, frame)
            np.testing.assert_array_equal(movie[k], frame)
            assert truth["shift_px"][k] == pytest.approx([told.shift_y_px, told.shift_x_px])
            np.testing.assert_allclose(truth["dff"][k], sample.dff, rtol=1e-6)
        assert truth["dff"].shape == (45, 5)
        assert len(truth["spike_frame"]) == len(truth["spike_cell"]) == len(truth["evoked"])
        assert truth["footprint_start"][-1] == len(truth["footprint_pixels"]) == len(truth["footprint_weight"])
        assert str(truth["indicator"]) == "jGCaMP8m"
        np.testing.assert_array_equal(truth["a_over_sigma"], sample.a_over_sigma)
    assert seen[-1] == (45, 45)


def test_footprints_sit_on_their_cells(tmp_path):
    with np.load(simulate(RIG, 0.1, tmp_path / "movie.tif", 7)[0]) as truth:
        for i in range(5):
            own = slice(truth["footprint_start"][i], truth["footprint_start"][i + 1])
            y, x = np.divmod(truth["footprint_pixels"][own], 48)
            distance = np.hypot(y - truth["y_px"][i], x - truth["x_px"][i])
            assert distance.max() < 2 * truth["radius_px"][i] + 4
            assert np.average(distance, weights=truth["footprint_weight"][own]) < truth["radius_px"][i]


def test_the_rate_and_the_pixel_size_are_in_the_file(tmp_path):
    simulate(RIG, 0.1, tmp_path / "movie.tif", 7)
    with tifffile.TiffFile(tmp_path / "movie.tif") as file:
        assert file.imagej_metadata["fps"] == pytest.approx(29.97)
        assert file.imagej_metadata["unit"] == "um"
        numerator, denominator = file.pages.first.tags["XResolution"].value
        assert denominator / numerator == pytest.approx(0.8, rel=1e-6)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(RecordingError, match="cannot be written"):
        simulate(RIG, 0.1, tmp_path / "nowhere" / "movie.tif", 7)


def test_of_a_volume_every_plane_has_frames_and_a_truth_of_its_own(tmp_path):
    rig = RIG.model_copy(update={"frame_rate_hz": 30.0, "n_planes": 2, "n_flyback_frames": 1})
    truths = simulate(rig, 2.0, tmp_path / "movie.tif", 7)
    assert [path.name for path in truths] == ["movie.plane0.truth.npz", "movie.plane1.truth.npz"]
    planes = [open_movie(tmp_path / "movie.tif", plane=plane) for plane in (0, 1)]
    assert [(movie.n_frames, movie.n_planes, movie.require_frame_rate()) for movie in planes] == [(20, 2, 10.0)] * 2
    volume = VirtualVolume(rig.model_copy(update={"sample": rig.sample.model_copy(update={"seed": 7})}))
    frame = np.zeros((64, 48), np.uint16)
    for number in range(60):
        told = volume.render(number, frame)
        index, plane = volume.place(number)
        if plane < 2:
            np.testing.assert_array_equal(planes[plane].read(index), frame)
            with np.load(truths[plane]) as truth:
                assert truth["shift_px"][index] == pytest.approx([told.shift_y_px, told.shift_x_px])
    for movie in planes:
        movie.close()
