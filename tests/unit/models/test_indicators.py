"""The indicator library: names, tables, fitted numbers."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from rt_engine.interfaces.errors import ConfigError
from rt_engine.models.fit_indicator import fit_kernel, fit_physics, measure
from rt_engine.models.forward import SUBSTEP_S, response
from rt_engine.models.indicator_physics import RiseKind
from rt_engine.models.indicators import indicator, indicator_names

NAMES = (
    "GCaMP6f", "GCaMP6s", "jGCaMP7f", "jGCaMP7s", "jGCaMP8f", "jGCaMP8m", "jGCaMP8s", "jRGECO1a", "OGB-1", "Cal-520",
)  # fmt: skip


def single_spike_by_ode(physics, duration_s):
    """dF/F after one spike at 0 s by a general integrator, sampled every SUBSTEP_S from SUBSTEP_S on."""

    def bound_fraction(c):
        return c**physics.hill / (physics.k_d_nm**physics.hill + c**physics.hill)

    def slope(t, b):
        c = physics.rest_calcium_nm + physics.step_calcium_nm * np.exp(-t / physics.tau_calcium_s)
        gap = bound_fraction(c) - b[0]
        return [gap / (physics.tau_on_s if gap > 0 else physics.tau_off_s)]

    t_s = np.arange(1, int(duration_s / SUBSTEP_S) + 1) * SUBSTEP_S
    rest = bound_fraction(physics.rest_calcium_nm)
    solved = solve_ivp(slope, (0, t_s[-1]), [rest], t_eval=t_s, max_step=0.002, rtol=1e-8, atol=1e-10)
    return physics.r_f * (solved.y[0] - rest) / (1 + physics.r_f * rest)


def test_every_indicator_of_the_specification_is_there():
    assert set(indicator_names()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_case_insensitive(name):
    assert indicator(name.upper()) == indicator(f" {name.lower()} ") == indicator(name)
    assert indicator(name).name == name


def test_an_unknown_name_is_refused_with_the_list():
    with pytest.raises(ConfigError) as caught:
        indicator("GCaMP9")
    assert all(name in str(caught.value) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_single_spike_response_has_the_published_peak_rise_and_half_decay(name):
    one = indicator(name)
    trace = single_spike_by_ode(one.physics, 4 * (one.table.half_decay_s + one.table.rise_s) + 0.2)
    shape = measure(trace, one.rise_kind)
    for got, published in zip(dataclasses.astuple(shape), dataclasses.astuple(one.table), strict=True):
        assert got == pytest.approx(published, rel=0.05)


def test_jgcamp8m_has_the_kinetics_of_the_specification():
    one = indicator("jGCaMP8m")
    assert (one.table.peak_dff, one.table.rise_s, one.table.half_decay_s) == (0.7, 0.007, 0.118)
    assert one.rise_kind is RiseKind.HALF


@pytest.mark.parametrize("name", NAMES)
def test_fitting_again_gives_the_shipped_numbers(name):
    one = indicator(name)
    start = dataclasses.replace(
        one.physics, step_calcium_nm=30.0, tau_on_s=max(0.003, one.table.rise_s), tau_off_s=one.table.half_decay_s
    )
    again = fit_physics(start, one.table, one.rise_kind)
    for field in ("step_calcium_nm", "tau_on_s", "tau_off_s"):
        assert getattr(again, field) == pytest.approx(getattr(one.physics, field), rel=0.02)
    kernel = (one.amplitude_dff, one.tau_rise_s, one.tau_s)
    assert fit_kernel(one.physics) == pytest.approx(kernel, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_kernel_follows_the_simulated_response(name):
    one = indicator(name)
    trace = response(one.physics, np.zeros(1), 4 * one.table.half_decay_s)
    t_s = np.arange(1, len(trace) + 1) * SUBSTEP_S
    residual = trace / one.amplitude_dff - one.kernel(t_s)
    assert np.sqrt(np.mean(residual**2)) < 0.06


@pytest.mark.parametrize("name", NAMES)
def test_kernel_starts_at_zero_and_peaks_at_one(name):
    one = indicator(name)
    k = one.kernel(np.linspace(0, 3, 300_001))
    assert one.kernel(np.array([-1.0, 0.0])) == pytest.approx([0, 0])
    assert k.max() == pytest.approx(1, abs=1e-6)
    assert one.tau_rise_s < one.tau_s


@pytest.mark.parametrize("name", NAMES)
def test_more_spikes_give_more_light_and_never_more_than_the_ceiling(name):
    one = indicator(name)
    peaks = [response(one.physics, np.arange(n) * 0.005, 0.6).max() for n in range(1, 9)]
    assert np.all(np.diff(peaks) > 0)
    assert peaks[-1] < one.physics.ceiling_dff()


@pytest.mark.parametrize("name", NAMES)
def test_every_number_carries_a_tag_and_a_source(name):
    one = indicator(name)
    numbers = [f.name for f in dataclasses.fields(one) if isinstance(getattr(one, f.name), float | int)]
    for field in numbers:
        cited = one.provenance[field]
        assert cited.value == getattr(one, field)
        assert cited.tag in {"S", "S2", "M", "P", "C"}
        assert cited.source


@pytest.mark.parametrize(
    ("name", "at_30_hz"), [("jGCaMP8f", 1), ("jGCaMP8m", 1), ("jGCaMP8s", 1), ("GCaMP6f", 3), ("jGCaMP7f", 3),
                           ("GCaMP6s", 5), ("jGCaMP7s", 5)],
)  # fmt: skip
def test_default_hold_keeps_its_delay_in_seconds(name, at_30_hz):
    one = indicator(name)
    assert one.default_hold_frames(30.0) == at_30_hz
    assert one.default_hold_frames(120.0) == 4 * at_30_hz
    assert one.default_hold_frames(1.0) == 1
