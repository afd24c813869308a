"""How the virtual sample moves: jitter, rare jumps that return, slow drift; one displacement a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.sample_config import MotionConfig


class Motion:
    """Displacement of the sample, frame by frame; axes (y, x), pixels.

    Parameters
    ----------
    config : MotionConfig
    um_per_px : float
    frame_rate_hz : float
    rng : numpy.random.Generator
        Used by nobody else; every frame draws the same number of values.
    """

    def __init__(self, config: MotionConfig, um_per_px: float, frame_rate_hz: float, rng: np.random.Generator) -> None:
        self._config = config
        self._um_per_px = um_per_px
        self._rng = rng
        self._jitter_keep = float(np.exp(-1 / (frame_rate_hz * config.jitter_time_constant_s)))
        self._drift_keep = float(np.exp(-1 / (frame_rate_hz * config.drift_time_constant_s)))
        self._jump_keep = float(np.exp(-1 / (frame_rate_hz * config.jump_return_s)))
        self._jump_chance = min(1.0, config.jump_rate_hz / frame_rate_hz)
        self._jitter_um = config.jitter_um * rng.standard_normal(2)
        self._drift_um = np.zeros(2)
        self._jump_um = np.zeros(2)

    def step(self) -> NDArray[np.float64]:
        """Displacement of the next frame, (y, x) in pixels: the frame at [y + shift_y, x + shift_x] shows [y, x]."""
        config = self._config
        noise = self._rng.standard_normal((2, 2))
        chance, angle, size = self._rng.random(3)
        self._jitter_um = self._jitter_keep * self._jitter_um + config.jitter_um * (
            (1 - self._jitter_keep**2) ** 0.5 * noise[0]
        )
        self._drift_um = self._drift_keep * self._drift_um + config.drift_um * (
            (1 - self._drift_keep**2) ** 0.5 * noise[1]
        )
        self._jump_um *= self._jump_keep
        if chance < self._jump_chance:
            reach_um = config.jump_min_um + size * (config.jump_max_um - config.jump_min_um)
            self._jump_um += reach_um * np.array([np.sin(2 * np.pi * angle), np.cos(2 * np.pi * angle)])
        total_um = self._jitter_um + self._drift_um + self._jump_um
        return np.clip(total_um, -config.max_um, config.max_um) / self._um_per_px
