"""The red channel of the virtual rig: comes before the green one, knows nothing of calcium, and shows the movement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.microscopes.virtual import VirtualMicroscope
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.devices import FrameInfo
from rt_engine.interfaces.rig_config import VirtualMicroscope as Config
from rt_engine.pipeline.registration import RigidRegistration

SIZE, RED_PHOTONS = 128, 6.0


def _read(n: int, structural_photons: float | None = RED_PHOTONS, **changes: Any) -> list[tuple[FrameInfo, NDArray]]:
    """Messages of a rig that renders as fast as it is read."""
    config = {"n_lines": SIZE, "pixels_per_line": SIZE, "pace": "max", "sample": {"n_cells": 12}} | changes
    config |= {"driver": "virtual", "structural_photons": structural_photons}
    microscope = VirtualMicroscope(Config.model_validate(config), MonotonicClock())
    microscope.open()
    microscope.start()
    buffer, out = np.zeros((SIZE, SIZE), np.uint16), []
    while len(out) < n:
        info = microscope.read(buffer, 1.0)
        assert info is not None
        out.append((info, buffer[info.line0 : info.line0 + info.n_lines].copy()))
    return out


def _images(messages: list[tuple[FrameInfo, NDArray]], channel: int) -> list[bytes]:
    return [lines.tobytes() for info, lines in messages if info.channel == channel]


def test_every_frame_comes_red_first_and_stamped_alike() -> None:
    messages = _read(20)
    assert [info.channel for info, _ in messages] == [1, 0] * 10
    assert [info.frame for info, _ in messages] == [k // 2 for k in range(20)]
    for (red, _), (green, _) in zip(messages[::2], messages[1::2], strict=True):
        assert (red.t_scan_ns, red.line0, red.n_lines) == (green.t_scan_ns, green.line0, green.n_lines)


def test_strips_come_in_pairs() -> None:
    messages = _read(8, strip_lines=32)
    assert [(info.channel, info.line0) for info, _ in messages] == [
        (c, line) for line in (0, 32, 64, 96) for c in (1, 0)
    ]


def test_flyback_has_no_red() -> None:
    messages = _read(5, n_planes=2, n_flyback_frames=1)
    assert [(info.frame, info.plane, info.channel) for info, _ in messages] == [
        (0, 0, 1), (0, 0, 0), (1, 1, 1), (1, 1, 0), (2, 2, 0),
    ]  # fmt: skip


def test_green_is_the_same_bits_with_and_without_red() -> None:
    assert _images(_read(40), 0) == _images(_read(20, structural_photons=None), 0)


def test_red_does_not_depend_on_calcium_and_green_does() -> None:
    firing = _read(120)
    silent = _read(120, sample={"n_cells": 12, "spontaneous": False})
    assert _images(firing, 1) == _images(silent, 1)
    assert _images(firing, 0) != _images(silent, 0)


@pytest.mark.parametrize("photons", [2.0, 8.0])
def test_cells_are_as_bright_as_asked(photons: float) -> None:
    still = {"jitter_um": 0.0, "jump_rate_hz": 0.0, "drift_um": 0.0}
    messages = _read(80, structural_photons=photons, sample={"n_cells": 12, "motion": still})
    mean = np.mean([lines for info, lines in messages if info.channel == 1], axis=0)
    brightest = np.sort((mean - 100.0) / 40.0, axis=None)[-200:]  # of the rings of twelve cells
    assert np.median(brightest) == pytest.approx(photons, rel=0.25)


def test_movement_is_told_from_red_where_green_is_too_dim() -> None:
    dim = {
        "n_cells": 12, "cells": {"median_a_over_sigma": 0.4},
        "background": {"neuropil_photons": 0.02, "puncta_photons": 0.02},
        "motion": {"jitter_um": 1.5, "jump_rate_hz": 0.0, "drift_um": 0.0},
    }  # fmt: skip
    messages = _read(400, sample=dim)
    config = {"n_lines": SIZE, "pixels_per_line": SIZE, "pace": "max", "sample": dim, "driver": "virtual"}
    truth = _truth(Config.model_validate(config), 200)
    errors = {}
    for channel in (0, 1):
        frames = [lines for info, lines in messages if info.channel == channel]
        rest = [lines for lines, shift in zip(frames, truth, strict=True) if np.abs(shift).max() < 0.5]
        registration = RigidRegistration(np.mean(rest, axis=0).astype(np.float32), 8.0)
        told = []
        for lines in frames:
            registration.process(lines)
            told.append((registration.shift_y_px, registration.shift_x_px))
        error = np.array(told) - truth
        errors[channel] = float(np.sqrt(np.mean((error - error.mean(axis=0)) ** 2)))
    assert errors[1] < 0.2
    assert errors[0] > 3 * errors[1]


def _truth(config: Config, n_frames: int) -> NDArray[np.float64]:
    """Displacement of the same sample, shape (n_frames, 2)."""
    microscope = VirtualMicroscope(config, MonotonicClock())
    microscope.open()
    microscope.start()
    buffer, out = np.zeros((SIZE, SIZE), np.uint16), []
    for _ in range(n_frames):
        assert microscope.read(buffer, 1.0) is not None
        told = microscope.take_truth()
        out.append((told["shift_y_px"], told["shift_x_px"]))
    return np.array(out)
