"""The template follows the look of a field that changes, and stays where the calibration put it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from moving_field import MovingField
from scipy.ndimage import spline_filter
from synthetic_session import make_calibration

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.pipeline import template_adaptation
from rt_engine.pipeline.engine import Engine
from rt_engine.pipeline.registration import RigidRegistration
from rt_engine.pipeline.template_adaptation import TemplateAdaptation, in_place

SIZE, N_FRAMES, PHOTONS = 128, 420, 0.25
Array = np.ndarray[Any, Any]


class ChangingField(MovingField):
    """One field turns into a mixture with another, and bleaches, while it moves."""

    def __init__(self, share: float, bleached: float) -> None:
        super().__init__(SIZE, PHOTONS, seed=2)
        self._first, self._second = self._light, MovingField(SIZE, PHOTONS, seed=9)._light
        self._share, self._bleached = share, bleached

    def look(self, progress: float) -> None:
        """From the first field (0) to the mixture (1)."""
        share = self._share * progress
        light = ((1 - share) * self._first + share * self._second) * (1 - self._bleached * progress)
        self._spline = spline_filter(light, order=3)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean every 30 frames, so that a short movie sees many."""
    monkeypatch.setattr(template_adaptation, "SAMPLE_PERIOD_S", 1 / 30)
    monkeypatch.setattr(template_adaptation, "N_SAMPLES", 25)
    monkeypatch.setattr(template_adaptation, "HANDOVER_S", 5 / 30)


@pytest.fixture
def calibration(tmp_path: Any) -> Calibration:
    """Of the field as it was."""
    made = make_calibration(tmp_path / "c.h5", [(40, 40), (90, 90)], size=SIZE, rate_hz=30.0)
    return replace(made, template=MovingField(SIZE, PHOTONS, seed=2).template)


def _errors(calibration: Calibration, field: ChangingField, path: Array, adapts: bool) -> tuple[Array, Engine]:
    """Error of the shift in every frame, (n_frames, 2), px."""
    engine = Engine(calibration, 8.0, MonotonicClock(), adapts_template=adapts)
    engine.warm_up()
    out = np.zeros((len(path), 2))
    for index, shift in enumerate(path):
        if index % 10 == 0:
            field.look(min(1.0, index / (0.6 * len(path))))
        frame = field.frame(shift)
        engine.process(frame, index, index, 0)
        engine.maintain(frame, index)
        out[index] = np.array(engine.shift_yx_px) - shift
    return out, engine


def _walk(n_frames: int) -> Array:
    rng = np.random.default_rng(3)
    path = np.cumsum(rng.normal(0, 0.15, (n_frames, 2)), axis=0)
    return 2.0 * path / np.abs(path).max()


def test_a_field_that_slowly_becomes_another_look_is_followed_better(calibration: Calibration) -> None:
    path = _walk(N_FRAMES)
    still, _ = _errors(calibration, ChangingField(0.65, 0.3), path, adapts=False)
    follows, engine = _errors(calibration, ChangingField(0.65, 0.3), path, adapts=True)
    late = slice(2 * N_FRAMES // 3, None)
    rms = [float(np.sqrt(np.mean(errors[late] ** 2))) for errors in (still, follows)]
    assert engine._adaptation is not None
    assert engine._adaptation.n_adapted >= 8
    assert rms[1] < 0.85 * rms[0]


def test_a_drifting_sample_cannot_take_the_template_along(calibration: Calibration) -> None:
    path = np.stack([np.linspace(0, 5, N_FRAMES), np.linspace(0, -4, N_FRAMES)], axis=1)
    errors, engine = _errors(calibration, ChangingField(0.0, 0.0), path, adapts=True)
    assert engine._adaptation is not None
    assert engine._adaptation.n_adapted >= 8
    assert np.abs(np.median(errors[-60:], axis=0)).max() < 0.1
    place = RigidRegistration(calibration.template, 8.0)
    place.process(np.rint(engine._adaptation.template).astype(np.uint16))
    assert max(abs(place.shift_y_px), abs(place.shift_x_px)) < 0.05


def test_errors_of_the_shifts_do_not_add_up(calibration: Calibration) -> None:
    """Frames that enter a pixel off, every time: without the anchor the template would walk a pixel a mean."""
    field = MovingField(SIZE, PHOTONS, seed=2)
    built: list[Array] = []
    adaptation = TemplateAdaptation(calibration.template, 8.0, 30.0, 0.0, lambda template: built.append(template))
    for index in range(300):
        adaptation.take(index)
        adaptation.look(field.frame(np.zeros(2)), index, 0.6, -0.6)
    assert len(built) >= 8
    place = RigidRegistration(calibration.template, 8.0)
    place.process(np.rint(built[-1]).astype(np.uint16))
    assert max(abs(place.shift_y_px), abs(place.shift_x_px)) < 0.1


def test_another_field_and_a_far_one_are_refused(calibration: Calibration) -> None:
    anchor = calibration.template
    assert in_place(anchor, anchor, 8.0) is not None
    assert in_place(MovingField(SIZE, PHOTONS, seed=30).template, anchor, 8.0) is None
    assert in_place(np.roll(anchor, 3, axis=0), anchor, 8.0) is None
    assert in_place(np.full_like(anchor, 100.0), anchor, 8.0) is None


def test_frames_that_jumped_or_were_lit_do_not_enter(calibration: Calibration) -> None:
    engine = Engine(calibration, 8.0, MonotonicClock(), adapts_template=True)
    engine.warm_up()
    field = MovingField(SIZE, PHOTONS, seed=2)
    adaptation = engine._adaptation
    assert adaptation is not None
    frame = field.frame(np.zeros(2))
    engine.process(frame, 0, 0, 0, [[0, 10]])
    engine.maintain(frame, 0)
    assert adaptation._n == 0
    engine.process(frame, 1, 1, 0)
    engine.maintain(frame, 1)
    assert adaptation._n == 1
    away = field.frame(np.array([5.0, 5.0]))
    engine.process(away, 2, 2, 0)
    engine.maintain(away, 2)
    assert adaptation._n == 1


def test_switched_off_nothing_changes_and_on_the_same_frames_give_the_same_bits(calibration: Calibration) -> None:
    path = _walk(150)
    runs = [_errors(calibration, ChangingField(0.5, 0.2), path, adapts=adapts)[0] for adapts in (True, True, False)]
    assert runs[0].tobytes() == runs[1].tobytes()
    assert runs[0].tobytes() != runs[2].tobytes()


LEAVE = """
import time
import numpy as np
from rt_engine.pipeline import template_adaptation

template_adaptation.N_SAMPLES = 1
template = np.random.default_rng(0).normal(1000, 100, (64, 64)).astype(np.float32)

def build(template):
    time.sleep(0.5)
    print("built", flush=True)

adaptation = template_adaptation.TemplateAdaptation(template, 4.0, 30.0, 0.0, build)
adaptation.look(template.astype(np.uint16), 0, 0.0, 0.0)
"""


def test_a_process_that_ends_lets_the_work_come_to_its_end() -> None:
    """Killed in the middle of a transform it would take the process down with an abort."""
    done = subprocess.run([sys.executable, "-c", LEAVE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "built\n"), done.stderr
