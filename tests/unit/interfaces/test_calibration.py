"""A calibration file keeps everything, older ones are read, and what is not one is refused in clear words."""

from dataclasses import fields, replace

import h5py
import numpy as np
import pytest
from synthetic_session import make_calibration

from rt_engine.interfaces.calibration import FORMAT, load_calibration, save_calibration
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.trace_uncertainty import TraceUncertainty


def uncertainty(n):
    rng = np.random.default_rng(0)
    values = {field.name: rng.uniform(0.1, 0.9, n).astype(np.float32) for field in fields(TraceUncertainty)}
    flags = {name: rng.random(n) < 0.5 for name in ("has_dynamics", "noise_disputed")}
    return TraceUncertainty(**values | flags | {"n_isolated_events": np.arange(n)})


def test_uncertainty_and_photon_gain_survive_the_file(tmp_path):
    made = make_calibration(tmp_path / "old.h5", [(20, 20), (40, 40)])
    known = uncertainty(2)
    save_calibration(tmp_path / "new.h5", replace(made, uncertainty=known, photon_gain_counts=12.5))
    found = load_calibration(tmp_path / "new.h5")
    assert found.photon_gain_counts == 12.5
    for field in fields(TraceUncertainty):
        one, other = getattr(found.uncertainty, field.name), getattr(known, field.name)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert load_calibration(tmp_path / "old.h5").uncertainty is None


def test_files_of_version_1_are_read(tmp_path):
    path = tmp_path / "one.h5"
    made = make_calibration(path, [(20, 20)])
    with h5py.File(path, "a") as file:
        file.attrs["format"] = "spikeloop/calibration/1"
        del file.attrs["photon_gain_counts"]
    found = load_calibration(path)
    assert found.uncertainty is None
    assert np.isnan(found.photon_gain_counts)
    np.testing.assert_array_equal(found.threshold, made.threshold)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.attrs.__setitem__("format", "spikeloop/calibration/99"), f"not a {FORMAT} file but .*/99"),
        (lambda f: f.attrs.pop("format"), f"not a {FORMAT} file"),
        (lambda f: f.pop("threshold"), "threshold is missing"),
        (lambda f: f["uncertainty"].pop("tau_se_s"), "uncertainty/tau_se_s is missing"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path, change, message):
    path = tmp_path / "c.h5"
    made = make_calibration(path, [(20, 20)])
    save_calibration(path, replace(made, uncertainty=uncertainty(1)))
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(CalibrationError, match=message) as caught:
        load_calibration(path)
    assert str(path) in str(caught.value)
