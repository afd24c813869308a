"""What makes loops dangerous is in the virtual rig, and off unless asked for."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.microscopes.virtual import VirtualMicroscope
from drivers.virtual_rig.opsin import Opsin
from drivers.virtual_rig.sample import VirtualSample
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.rig_config import VirtualMicroscope as VirtualConfig
from rt_engine.interfaces.sample_config import OpsinConfig, SampleConfig

HERE = np.array([[0.0, 0.0]])


def opsin(**changes):
    """One cell at the target, one 20 um away, one 60 um away."""
    cells = np.array([[0.0, 0.0], [0.0, 20.0], [0.0, 60.0]])
    return Opsin(OpsinConfig(**changes), cells, 1.0, (1, 2))


def test_scattered_light_reaches_cells_that_nobody_aimed_at():
    plain = opsin().received_mw(np.array([10.0]), HERE, np.zeros(2))
    stray = opsin(scatter_fraction=0.2, scatter_fwhm_um=60.0).received_mw(np.array([10.0]), HERE, np.zeros(2))
    assert stray[0] == pytest.approx(10.0)
    assert stray[1] == pytest.approx(0.8 * plain[1] + 2.0 * 2 ** (-4 * (20 / 60) ** 2))
    assert stray[2] == pytest.approx(2.0 * 2**-4, rel=1e-6)
    assert plain[2] < 1e-9


def test_the_imaging_beam_makes_cells_fire_at_the_rate_asked_for():
    n_frames, period_s = 20_000, 1 / 30
    counts = [len(opsin(imaging_rate_hz=0.5).imaged(frame, period_s)[1]) for frame in range(n_frames)]
    expected = 3 * 0.5 * n_frames * period_s
    assert abs(sum(counts) - expected) < 5 * np.sqrt(expected)
    since_s, cell = opsin(imaging_rate_hz=10.0).imaged(7, 2.0)
    assert (since_s >= 0).all()
    assert (since_s < 2.0).all()
    assert set(cell.tolist()) == {0, 1, 2}


def spikes(**changes):
    """Evoked spikes in ten seconds without any light."""
    sample = VirtualSample(SampleConfig(n_cells=30, opsin=OpsinConfig(**changes)), 64, 64, 1.0, 30.0)
    frame = np.zeros((64, 64), np.uint16)
    truths = [sample.render(index, frame) for index in range(300)]
    return sum(int(truth.evoked.sum()) for truth in truths), frame


def test_excitation_by_imaging_is_told_by_the_truth_and_is_off_by_default():
    evoked, _ = spikes(imaging_rate_hz=0.5)
    assert 90 < evoked < 220
    assert spikes()[0] == 0


@pytest.mark.parametrize("says", [True, False])
def test_a_rig_that_does_not_say_which_lines_were_lit_shows_the_artefact_all_the_same(says):
    opsin_config = OpsinConfig(artefact_photons_per_mw=50.0, says_artefact=says)
    sample = SampleConfig(n_cells=5, spontaneous=False, opsin=opsin_config)
    config = VirtualConfig(driver="virtual", n_lines=64, pixels_per_line=64, pace="max", sample=sample)
    microscope = VirtualMicroscope(config, MonotonicClock())
    microscope.open()
    microscope.start()
    dark, lit = np.zeros((64, 64), np.uint16), np.zeros((64, 64), np.uint16)
    microscope.read(dark, 1.0)
    microscope.receive_light(0, 10_000, [10_000], [[32.0, 32.0]])
    info = microscope.read(lit, 1.0)
    assert lit[:8].mean() > 3 * dark[:8].mean()
    assert bool(info.blanked) == says
    assert bool(info.flags & 4) == says
    microscope.close()
