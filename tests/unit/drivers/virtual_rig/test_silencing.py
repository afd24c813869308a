"""An opsin that silences takes away own spikes of lit cells, for its time, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.virtual_rig.sample import VirtualSample
from drivers.virtual_rig.silencing import Silencing
from drivers.virtual_rig.trace_sample import TraceSample
from rt_engine.interfaces.rig_config import VirtualMicroscope
from rt_engine.interfaces.sample_config import OpsinConfig, SampleConfig

SILENCES_S = 0.3


def test_spikes_within_the_time_of_their_own_cell_are_lost_as_a_loop_over_all_says():
    random = np.random.default_rng(0)
    silencing, lit = Silencing(SILENCES_S), []
    for frame in range(100):
        begin_s = frame / 10 + random.random(3) * 0.1
        cells = random.integers(0, 5, 3)
        if frame % 4 == 0:
            silencing.add(begin_s, cells)
            lit += zip(begin_s, cells, strict=True)
        spike_s, cell = (frame + random.random(20)) / 10 + 0.1, random.integers(0, 5, 20)
        expected = [
            not any(one == c and 0 <= t - begin < SILENCES_S for begin, one in lit)
            for t, c in zip(spike_s, cell, strict=True)
        ]
        assert silencing.spared(spike_s, cell, (frame + 2) / 10 - 0.1).tolist() == expected
    assert len(silencing._cell) < 10, "what is over is kept"


def microscope(silences_s: float) -> VirtualMicroscope:
    """Light on a target always reaches it, 6 ms later."""
    opsin = OpsinConfig(
        silences_ms=silences_s * 1e3,
        median_p50_mw=0.1,
        log_sd_p50=0.0,
        slope_mw=0.01,
        latency_sd_ms=0,
        lateral_fwhm_um=1.0,
    )
    sample = SampleConfig(n_cells=16, opsin=opsin)
    return VirtualMicroscope(driver="virtual", n_lines=128, pixels_per_line=128, sample=sample)


def of_traces(config: VirtualMicroscope, lit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Spike times and cells of a minute."""
    sample = TraceSample(config, 2, 0.5)
    target = np.array([[sample.y_px[lit or 0], sample.x_px[lit or 0]]])
    frames = []
    for frame in range(1800):
        if lit is not None and frame % 15 == 0:
            sample.receive_light(frame / 30, 0.005, np.array([5.0]), target)
        frames.append(sample.step())
    return np.concatenate([one.spike_s for one in frames]), np.concatenate([one.spike_cell for one in frames])


def of_pixels(config: VirtualMicroscope, lit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The same, drawn."""
    sample = VirtualSample(config.sample, 128, 128, config.um_per_px, 30.0)
    target = np.array([[sample.somata.y_px[lit or 0], sample.somata.x_px[lit or 0]]])
    image, truths = np.zeros((128, 128), np.uint16), []
    for frame in range(600):
        if lit is not None and frame % 15 == 0:
            sample.receive_light(frame / 30, 0.005, np.array([5.0]), target)
        truths.append(sample.render(frame, image))
        assert not truths[-1].evoked.any()
    return np.concatenate([t.spike_frame for t in truths]) / 30, np.concatenate([t.spike_cell for t in truths])


@pytest.mark.parametrize("draw", [of_traces, of_pixels])
def test_a_lit_cell_is_silent_for_its_time_and_the_others_go_on(draw):
    config = microscope(SILENCES_S)
    dark_s, dark_cell = draw(config, None)
    lit = int(np.bincount(dark_cell).argmax())
    lit_s, lit_cell = draw(config, lit)
    since_light_s = dark_s % 0.5
    kept = ~((since_light_s >= 0.006) & (since_light_s < 0.006 + SILENCES_S) & (dark_cell == lit))
    assert np.count_nonzero(~kept) > 2, "nothing was there to silence"
    for cell in range(config.sample.n_cells):
        np.testing.assert_allclose(np.sort(lit_s[lit_cell == cell]), np.sort(dark_s[kept & (dark_cell == cell)]))
