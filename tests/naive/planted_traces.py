"""ROI counts with planted spikes: bi-exponential calcium, photon noise, correlated neuropil, slow drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Planted:
    """`f_roi`, `f_np`, `valid` as the calibration wants them, and the truth."""

    f_roi: np.ndarray
    f_np: np.ndarray
    valid: np.ndarray
    spikes_s: list[np.ndarray]
    sigma_dff: np.ndarray
    f0_counts: np.ndarray
    frame_rate_hz: float


def spike_times(rng, rate_hz, duration_s, burst_fraction=0.5):
    """Poisson events, half of them bursts of 2 to 6 spikes 5 to 20 ms apart; `rate_hz` counts spikes."""
    mean_spikes = 1 - burst_fraction + burst_fraction * 4
    starts = np.sort(rng.random(rng.poisson(rate_hz / mean_spikes * duration_s)) * duration_s)
    times = []
    for start in starts:
        n = rng.integers(2, 7) if rng.random() < burst_fraction else 1
        times.extend(start + np.concatenate([[0.0], np.cumsum(rng.uniform(0.005, 0.02, n - 1))]))
    return np.sort(np.array(times))


def bursts(times_s, gap_s=0.1):
    """First spike of every train whose intervals are at most `gap_s`."""
    if len(times_s) == 0:
        return times_s
    return times_s[np.concatenate([[True], np.diff(times_s) > gap_s])]


def planted_traces(
    seed,
    n_rois=40,
    n_frames=3600,
    frame_rate_hz=30.0,
    amplitude_over_sigma=4.0,
    rate_hz=0.5,
    tau_rise_s=0.006,
    tau_s=0.17,
    amplitude_dff=0.7,
    neuropil=0.1,
    drift_per_min=0.02,
    gaussian=False,
    counts_per_photon=20.0,
):
    """Photon-limited traces of `n_rois` cells; arrays broadcast over cells."""
    rng = np.random.default_rng(seed)
    amplitude_dff, tau_s = (np.broadcast_to(np.asarray(a, float), (n_rois,)) for a in (amplitude_dff, tau_s))
    sigma = np.broadcast_to(amplitude_dff / np.asarray(amplitude_over_sigma, float), (n_rois,)).copy()
    rates = np.broadcast_to(np.asarray(rate_hz, float), (n_rois,))
    photons = 1 / sigma**2
    duration = n_frames / frame_rate_hz
    t = np.arange(n_frames) / frame_rate_hz
    peak_at = np.log(tau_s / tau_rise_s) * tau_rise_s * tau_s / (tau_s - tau_rise_s)
    peak = np.exp(-peak_at / tau_s) - np.exp(-peak_at / tau_rise_s)
    common = np.zeros(n_frames)
    drive = rng.standard_normal(n_frames)
    a = np.exp(-1 / (0.8 * frame_rate_hz))
    for i in range(1, n_frames):
        common[i] = a * common[i - 1] + np.sqrt(1 - a * a) * drive[i]
    drift = 1 - drift_per_min * t / 60
    dff = np.zeros((n_frames, n_rois))
    spikes = []
    for n in range(n_rois):
        times = spike_times(rng, rates[n], duration) if rates[n] > 0 else np.zeros(0)
        spikes.append(times)
        scan = t + rng.random() / frame_rate_hz
        for s in times:
            first = np.searchsorted(scan, s)
            last = np.searchsorted(scan, s + 12 * tau_s[n])
            dt = scan[first:last] - s
            dff[first:last, n] += amplitude_dff[n] * (np.exp(-dt / tau_s[n]) - np.exp(-dt / tau_rise_s)) / peak[n]
    haze = 0.7 * photons * neuropil * common[:, None]
    mean = np.maximum(photons * (1 + dff) * drift[:, None] + haze, 0.01)
    noisy = mean + np.sqrt(mean) * rng.standard_normal(mean.shape) if gaussian else rng.poisson(mean).astype(float)
    ring = photons * (1 + neuropil * common[:, None]) * drift[:, None]
    ring = ring + np.sqrt(ring / 4) * rng.standard_normal(ring.shape)
    return Planted(
        f_roi=(counts_per_photon * noisy).astype(np.float32),
        f_np=(counts_per_photon * ring).astype(np.float32),
        valid=np.ones((n_frames, n_rois), np.uint8),
        spikes_s=spikes,
        sigma_dff=sigma,
        f0_counts=counts_per_photon * photons,
        frame_rate_hz=frame_rate_hz,
    )


def score(events, roi_id, truth_s, frame_rate_hz, tolerance_s=0.1, from_s=0.0):
    """Recall and precision of one cell's events against bursts, matched one to one in time."""
    found = np.sort(events["event_frame"][events["roi_id"] == roi_id] + 0.5) / frame_rate_hz
    found = found[found >= from_s]
    planted = bursts(truth_s)
    planted = planted[planted >= from_s]
    hits, j = 0, 0
    for s in planted:
        while j < len(found) and found[j] < s - tolerance_s:
            j += 1
        if j < len(found) and found[j] <= s + tolerance_s:
            hits += 1
            j += 1
    return hits, len(planted), len(found)
