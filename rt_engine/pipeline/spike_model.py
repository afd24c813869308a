"""What one spike does to the calcium of a cell, frame by frame, and how well a jump can be told from noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.oasis_ar2 import resolved_rise
from rt_engine.pipeline.plain_functions import exp, log

FloatArray = NDArray[np.float64]

LARGEST_RISE_SHARE = 0.999  # of the decay time: where the two are equal, the peak is 0 / 0


class SpikeModel(NamedTuple):
    """Calcium of a cell per frame, float64 ndarrays, shape (n_rois,).

    ``slow`` and ``fast`` are what calcium and its rise keep per frame; ``fast`` is 0 where the rise is not resolved,
    and the model AR(1). ``jump_dff`` is the jump s = c_t - (slow + fast) c_{t-1} + slow fast c_{t-2} of one spike.
    """

    slow: FloatArray
    fast: FloatArray
    jump_dff: FloatArray


def spike_model(tau_rise_s: FloatArray, tau_s: FloatArray, amplitude_dff: FloatArray, rate_hz: float) -> SpikeModel:
    """Model of every cell at a frame rate.

    Parameters
    ----------
    tau_rise_s, tau_s : float64 ndarray, shape (n_rois,)
        Of k(t) = (exp(-t / tau_s) - exp(-t / tau_rise_s)) / peak, which is the same with the two exchanged.
    amplitude_dff : float64 ndarray, shape (n_rois,)
        Peak dF/F of one spike.
    rate_hz : float
        Frame rate.

    Returns
    -------
    SpikeModel

    Notes
    -----
    A jump adds s / ((1 - slow) (1 - fast)) to the sum of the calcium of all frames; that of one spike adds as much as
    the spike, amplitude (tau_s - tau_rise_s) rate / peak, whenever in its frame it came. Two times have real roots.
    """
    decay_s = np.maximum(tau_s, tau_rise_s)
    rise_s = np.minimum(np.minimum(tau_s, tau_rise_s), LARGEST_RISE_SHARE * decay_s)
    slow = exp(-1 / (decay_s * rate_hz))
    fast = resolved_rise(slow, exp(-1 / (rise_s * rate_hz)))
    t_peak_s = log(decay_s / rise_s) * rise_s * decay_s / (decay_s - rise_s)
    peak = exp(-t_peak_s / decay_s) - exp(-t_peak_s / rise_s)
    area = amplitude_dff * (decay_s - rise_s) * rate_hz / peak
    return SpikeModel(slow, fast, area * (1 - slow) * (1 - fast))


def jump_age(model: SpikeModel, hold_frames: int) -> NDArray[np.int64]:
    """Frames ago of the jump that tells the spikes of the frame `hold_frames` ago, int64, shape (n_rois,).

    The response of a cell with a rise is 0 a frame before its jump: there the spike was. Without a sample after the
    frame of the spike (hold 0) nothing is known of it yet, and the jump of the last frame is told, a frame late.
    """
    return np.where(model.fast > 0, max(hold_frames - 1, 0), hold_frames)


def jump_error(model: SpikeModel, sigma_dff: FloatArray, age_frames: NDArray[np.int64]) -> FloatArray:
    """Standard error of a jump by noise, given the samples since and all calcium before.

    Parameters
    ----------
    model : SpikeModel
    sigma_dff : float64 ndarray, shape (n_rois,)
        Noise of a frame.
    age_frames : int64 ndarray, shape (n_rois,)
        Samples after that of the jump.

    Returns
    -------
    float64 ndarray, shape (n_rois,), dF/F

    Notes
    -----
    sigma / sqrt(sum_{k <= age} h_k^2), h_k the response to a jump of 1.
    """
    slow, fast = model.slow, model.fast
    power = np.arange(1, age_frames.max(initial=0) + 2)[:, None]
    response = np.where(power <= age_frames + 1, (slow**power - fast**power) / (slow - fast), 0.0)
    return np.asarray(sigma_dff / np.sqrt((response**2).sum(axis=0)))
