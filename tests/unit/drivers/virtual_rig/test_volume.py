"""A volume is planes in turn: what each shows, when, and what light does to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drivers.virtual_rig.sample import VirtualSample
from drivers.virtual_rig.volume import VirtualVolume
from rt_engine.interfaces.rig_config import VirtualMicroscope

RATE_HZ = 30.0


def make(n_planes: int = 2, n_flyback: int = 1, *, spacing_um: float = 40.0, **sample: Any) -> VirtualVolume:
    return VirtualVolume(
        VirtualMicroscope(
            driver="virtual", frame_rate_hz=RATE_HZ, n_lines=64, pixels_per_line=48, n_planes=n_planes,
            n_flyback_frames=n_flyback, plane_spacing_um=spacing_um, sample={"n_cells": 6, "seed": 5, **sample},
        )
    )  # fmt: skip


def scan(volume: VirtualVolume, n_frames: int):
    """(truth, frame) of the next frames."""
    for number in range(volume.next_frame, volume.next_frame + n_frames):
        out = np.zeros((64, 48), np.uint16)
        yield volume.render(number, out), out


def test_one_plane_is_the_sample_bit_for_bit():
    volume = make(1, 0)
    sample = VirtualSample(volume.planes[0].config, 64, 48, 0.8, RATE_HZ)
    alone = np.zeros((64, 48), np.uint16)
    for number in range(40):
        if number == 10:
            for one in (volume, sample):
                one.receive_light(10.3 / RATE_HZ, 0.005, np.array([20.0]), np.array([[30.0, 20.0]]))
        ((told, seen),) = scan(volume, 1)
        expected = sample.render(number, alone)
        np.testing.assert_array_equal(seen, alone)
        np.testing.assert_array_equal(told.spike_frame, expected.spike_frame)
        assert told.blanked == expected.blanked


def test_every_plane_once_a_volume_then_a_dark_flyback():
    volume = make(2, 1)
    frames = list(scan(volume, 12))
    assert [volume.place(truth.frame) for truth, _ in frames[:4]] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    for truth, seen in frames:
        dark = volume.place(truth.frame)[1] == 2
        assert (seen.std() == 0) == dark
        assert volume.is_flyback(truth.frame) == dark


def test_planes_have_cells_of_their_own_and_move_as_one():
    volume = make(2, 0)
    assert not np.array_equal(volume.planes[0].somata.y_px, volume.planes[1].somata.y_px)
    shifts = [(truth.shift_y_px, truth.shift_x_px) for truth, _ in scan(volume, 20)]
    assert shifts[0::2] == shifts[1::2]
    assert len(set(shifts)) == 10


@pytest.mark.parametrize("plane", [0, 1])
def test_spikes_are_told_with_the_frame_that_ends_the_time_they_are_seen_in(plane: int):
    volume = make(2, 1, spiking={"min_rate_hz": 5.0, "max_rate_hz": 10.0})
    found = 0
    for truth, _ in scan(volume, 300):
        if volume.place(truth.frame)[1] == plane:
            assert np.all((truth.spike_frame >= truth.frame - 2 - 1e-9) & (truth.spike_frame < truth.frame + 1 + 1e-9))
            found += len(truth.spike_frame)
    assert found > 50


@pytest.mark.parametrize("plane", [0, 1])
def test_spikes_stand_in_the_time_of_the_frame_counter(plane: int):
    """Ten spikes a second of each of six cells are as many by the frame counter, from the beginning to the end."""
    volume = make(2, 1, spiking={"min_rate_hz": 10.0, "max_rate_hz": 10.0, "n_groups": 0, "burst_fraction": 0.0})
    spikes = [
        f / RATE_HZ for truth, _ in scan(volume, 900) if volume.place(truth.frame)[1] == plane
        for f in truth.spike_frame
    ]  # fmt: skip
    assert len(spikes) / 6 / 30.0 == pytest.approx(10.0, rel=0.1)
    assert -2 / RATE_HZ <= min(spikes) < 0.5
    assert 29.5 < max(spikes) < 30.0


def test_light_on_a_cell_of_one_plane_makes_it_fire_and_none_of_a_plane_far_away():
    volume = make(2, 1, spacing_um=200.0, spontaneous=False)
    list(scan(volume, 6))
    target = np.array([[volume.planes[1].somata.y_px[0], volume.planes[1].somata.x_px[0]]])
    for pulse in range(40):
        volume.receive_light(volume.next_frame / RATE_HZ, 0.005, np.array([20.0]), target, [1])
        for truth, _ in scan(volume, 3):
            position = volume.place(truth.frame)[1]
            assert not (position == 0 and truth.evoked.any()), pulse
            if position == 1 and pulse > 2:
                assert 0 in truth.spike_cell[truth.evoked]


def test_light_without_a_plane_is_for_the_first():
    volume = make(2, 0, spacing_um=200.0, spontaneous=False)
    list(scan(volume, 2))
    target = np.array([[volume.planes[0].somata.y_px[0], volume.planes[0].somata.x_px[0]]])
    volume.receive_light(2 / RATE_HZ, 0.005, np.array([20.0]), target)
    evoked = {volume.place(truth.frame)[1]: truth.evoked.sum() for truth, _ in scan(volume, 2)}
    assert evoked[0] >= 1
    assert evoked[1] == 0


def test_the_artefact_falls_on_the_lines_scanned_meanwhile_of_whichever_plane():
    volume = make(2, 1)
    list(scan(volume, 3))
    begin = 4.25
    volume.receive_light(begin / RATE_HZ, 0.25 / RATE_HZ, np.array([5.0]), np.array([[10.0, 10.0]]), [0])
    blanked = {truth.frame: truth.blanked for truth, _ in scan(volume, 3)}
    assert blanked == {3: (), 4: ((16, 16),), 5: ()}


def test_frames_come_in_order_only():
    volume = make()
    with pytest.raises(ValueError, match="frame 1 asked for, the next one is 0"):
        volume.render(1, np.zeros((64, 48), np.uint16))
