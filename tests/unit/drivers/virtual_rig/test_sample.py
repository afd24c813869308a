"""The virtual sample shows what it was told to plant, and tells what it showed."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.optimize import minimize

from drivers.virtual_rig.sample import VirtualSample
from rt_engine.interfaces.sample_config import SampleConfig

STILL = {"jitter_um": 0, "jump_rate_hz": 0, "drift_um": 0}
QUIET_BACKGROUND = {"fluctuation": 0, "population_drive": 0}
NO_BLEACHING = {"fraction": 0}
GRID_PX = np.arange(-1.2, 1.3, 0.3) + 0.07


def make(n=64, rate_hz=30.0, **config):
    return VirtualSample(SampleConfig(**config), n, n, 0.8, rate_hz)


def render(sample, n_frames):
    frames = np.zeros((n_frames, sample.n_lines, sample.pixels_per_line), dtype=np.uint16)
    truths = [sample.render(sample.next_frame, frame) for frame in frames]
    return frames, truths


def roi_means(sample, frames):
    """Mean of the pixels inside the rim of every cell, (n_frames, n_cells)."""
    somata, m = sample.somata, sample.margin_px
    padded = np.pad(frames, ((0, 0), (m, m), (m, m)), mode="edge").reshape(len(frames), -1)
    spans = [slice(a, b) for a, b in zip(somata.start[:-1], somata.start[1:], strict=True)]
    return np.stack([padded[:, somata.pixels[s][somata.in_roi[s]]].mean(axis=1) for s in spans], axis=1)


def test_variance_over_mean_returns_the_gain_and_the_read_noise():
    sample = make(96, n_cells=4, spontaneous=False, motion=STILL, background=QUIET_BACKGROUND, bleaching=NO_BLEACHING)
    frames, _ = render(sample, 1500)
    mean, variance = frames.mean(axis=(0)).ravel(), frames.var(axis=0, ddof=1).ravel()
    slope, intercept = np.polyfit(mean - 100, variance, 1)
    assert slope == pytest.approx(40, rel=0.02)
    assert intercept == pytest.approx(8**2 + 1 / 12, rel=0.15)


def test_rest_frames_average_to_the_planted_light():
    sample = make(64, n_cells=4, spontaneous=False, motion=STILL, background=QUIET_BACKGROUND, bleaching=NO_BLEACHING)
    frames, _ = render(sample, 1000)
    m = sample.margin_px
    planted = sample.field.rest_photons()[m:-m, m:-m]
    z = (frames.mean(axis=0) - 100 - 40 * planted) / np.sqrt((1600 * planted + 64) / 1000)
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1, abs=0.05)


def test_a_over_sigma_by_monte_carlo():
    config = dict(n_cells=12, motion=STILL, background=QUIET_BACKGROUND, bleaching=NO_BLEACHING)
    config["cells"] = {"min_distance_um": 17}
    silent = make(128, spontaneous=False, **config)
    sigma_counts = roi_means(silent, render(silent, 1500)[0]).std(axis=0, ddof=1)
    active = make(128, spiking={"min_rate_hz": 1, "max_rate_hz": 1.5}, **config)
    frames = np.zeros((1500, 128, 128), dtype=np.uint16)
    dff = np.zeros((1500, 12))
    for k in range(1500):
        active.render(k, frames[k])
        dff[k] = active.dff
    f = roi_means(active, frames)
    slope_counts = [np.polyfit(dff[:, i], f[:, i], 1)[0] for i in range(12)]
    measured = 0.7 * np.array(slope_counts) / sigma_counts
    np.testing.assert_allclose(measured, active.a_over_sigma, rtol=0.1)
    assert np.median(measured / active.a_over_sigma) == pytest.approx(1, abs=0.025)


def test_a_over_sigma_is_log_normal_with_median_4():
    log_ratio = np.log(make(512, n_cells=1000).a_over_sigma / 4)
    assert abs(np.median(log_ratio)) < 4 * 1.2533 * 0.5 / 1000**0.5
    assert log_ratio.std() == pytest.approx(0.5, rel=0.1)


def test_the_same_seed_gives_the_same_frames_and_another_does_not():
    first, again, other = (render(make(seed=s, n_cells=6), 20) for s in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    assert [t.spike_frame.tolist() for t in first[1]] == [t.spike_frame.tolist() for t in again[1]]
    assert np.mean(first[0] != other[0]) > 0.5


def test_silencing_the_cells_changes_nothing_but_their_activity():
    active, silent = make(n_cells=6), make(n_cells=6, spontaneous=False)
    np.testing.assert_array_equal(active.field.rest_photons(), silent.field.rest_photons())
    loud = np.zeros(6, dtype=bool)
    for k in range(200):
        a, b = np.zeros((64, 64), dtype=np.uint16), np.zeros((64, 64), dtype=np.uint16)
        truth_a, truth_b = active.render(k, a), silent.render(k, b)
        np.testing.assert_array_equal(active.neuropil.modulation, silent.neuropil.modulation)
        assert (truth_a.shift_y_px, truth_a.shift_x_px) == (truth_b.shift_y_px, truth_b.shift_x_px)
        assert len(truth_b.spike_cell) == 0
        assert not silent.dff.any()
        glowing = np.flatnonzero(active.dff > 0)
        loud[glowing] = True
        y, x = np.mgrid[:64, :64]
        far = np.ones((64, 64), dtype=bool)
        for i in glowing:
            far &= np.hypot(y - active.somata.y_px[i], x - active.somata.x_px[i]) > 25
        np.testing.assert_array_equal(a[far], b[far])
    assert loud.sum() >= 3


def test_the_true_shift_is_where_the_frame_shows_the_sample():
    sample = make(
        n_cells=6, spontaneous=False, bleaching=NO_BLEACHING, detector={"gain_counts": 1, "adc_bits": 16},
        background={**QUIET_BACKGROUND, "neuropil_photons": 2000, "puncta_photons": 3000},
        motion={"jitter_um": 1.5, "jump_rate_hz": 2},
    )  # fmt: skip
    frames, truths = render(sample, 15)
    y, x = np.mgrid[4:60, 4:60]
    for frame, truth in zip(frames, truths, strict=True):

        def misfit(shift, frame=frame):
            shown = sample.field.rest_photons().astype(float)
            at = [y - shift[0] + sample.margin_px, x - shift[1] + sample.margin_px]
            return np.sum((map_coordinates(shown, at, order=1) + 100 - frame[4:60, 4:60]) ** 2)

        true = np.array([truth.shift_y_px, truth.shift_x_px])
        coarse = min(((dy, dx) for dy in GRID_PX for dx in GRID_PX), key=lambda d: misfit(true + d))
        found = minimize(misfit, true + coarse, method="Nelder-Mead", options={"xatol": 1e-3}).x
        assert found == pytest.approx([truth.shift_y_px, truth.shift_x_px], abs=0.03)
    assert np.ptp([t.shift_y_px for t in truths]) > 2


def test_cells_are_sampled_when_their_line_is_scanned():
    """A spike in the middle of frame k shows in frame k only in cells whose line comes after it."""
    sample = make(128, n_cells=30, spontaneous=False, opsin={"latency_sd_ms": 0, "log_sd_p50": 0})
    render(sample, 3)
    centres = np.stack([sample.somata.y_px, sample.somata.x_px], axis=1)
    sample.receive_light(3.5 / 30 - 0.006, 0.005, np.full(30, 1000.0), centres)
    _, (truth,) = render(sample, 1)
    assert truth.spike_frame == pytest.approx(np.full(30, 3.5))
    late = sample.somata.y_px > 66
    assert np.all(sample.dff[late] > 0)
    assert np.all(sample.dff[sample.somata.y_px < 62] == 0)
    render(sample, 1)
    assert np.all(sample.dff > 0.3)


def test_spike_times_lie_within_their_frame():
    sample = make(n_cells=20)
    for truth in render(sample, 300)[1]:
        assert np.all((truth.spike_frame >= truth.frame) & (truth.spike_frame < truth.frame + 1))
        assert np.all(np.diff(truth.spike_frame) >= 0)


def test_bleaching_takes_its_fraction_of_the_light():
    sample = make(
        n_cells=0, motion=STILL, background=QUIET_BACKGROUND, bleaching={"fraction": 0.5, "time_constant_s": 1.0}
    )
    frames, _ = render(sample, 300)
    light = frames.mean(axis=(1, 2)) - 100
    expected = 1 - 0.5 * (1 - np.exp(-np.arange(300) / 30))
    np.testing.assert_allclose(light / (40 * sample.field.rest_photons()[13:-13, 13:-13].mean()), expected, rtol=0.12)
    assert light[-50:].mean() / light[:3].mean() == pytest.approx(0.5 / expected[:3].mean(), rel=0.03)


def test_neuropil_fluctuates_by_what_was_asked():
    sample = make(96, n_cells=40, background={"time_constant_s": 0.2}, spiking={"n_groups": 0, "min_rate_hz": 1})
    own, driven = [], []
    for _ in range(12000):
        spikes = sample.spikes.take_until((len(own) + 1) / 30)[1]
        sample.neuropil.step(spikes)
        own.append(sample.neuropil.modulation.copy())
        driven.append(len(spikes))
    total = np.array(own)
    assert total.mean() == pytest.approx(0, abs=0.01)
    assert total.std(axis=0).mean() == pytest.approx((0.1**2 + 0.1**2) ** 0.5, rel=0.1)
    assert np.corrcoef(total.mean(axis=(1, 2)), np.convolve(driven, np.exp(-np.arange(30) / 6))[:12000])[0, 1] > 0.3


def test_more_cells_than_fit_are_planted_closer():
    sample = make(64, n_cells=150)
    assert len(sample.somata.y_px) == 150


def test_frames_out_of_order_are_refused():
    with pytest.raises(ValueError, match="next one is 0"):
        make(n_cells=0).render(1, np.zeros((64, 64), dtype=np.uint16))
