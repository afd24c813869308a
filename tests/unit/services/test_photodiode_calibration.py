"""A photodiode on an analogue input tells the power as it is, up to what the beam may carry, and never a guess."""

from __future__ import annotations

import io
from contextlib import contextmanager

import numpy as np
import pytest
from ni_rig import ENABLE, WIRES, settings
from safety_rig import MS, FakeClock, limits
from system_rig import small_rig, write_rig

from drivers.inputs.ni_analog import NiAnalog
from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.cli import main
from rt_engine.interfaces.errors import ConfigError, DeviceError, LimitError, SafetyError
from rt_engine.interfaces.ni_config import NiAnalogInput
from rt_engine.interfaces.output_config import NiDaqOutput
from rt_engine.interfaces.power_table import PowerTable
from rt_engine.services import power_calibration
from rt_engine.services.power_meters import DiodeMeter, Flicker, Lit, TypedMeter, read_pulses

MW_PER_V, DARK_V, NOISE_V = 12.5, 0.021, 0.004


@pytest.fixture(autouse=True)
def brisk(monkeypatch):
    """No thermal meter has to settle."""
    monkeypatch.setattr(power_calibration, "ON_S", 2.0)


def source_mw(volts):
    """What the light source gives: a Pockels cell below its maximum."""
    return 30.0 * np.sin(np.pi / 2 * volts / 6.0) ** 2


class Bench:
    """A light source behind a card, a photodiode that sees it, and a power meter under the objective."""

    def __init__(self, card, clock, port, folder, kind, sees, **changes):
        random = np.random.default_rng(4)
        self.card, self.clock, self.kind = card, clock, kind
        card.watch("ai2", "ao0", ENABLE, lambda v: DARK_V + sees(source_mw(v)) + NOISE_V * random.standard_normal())
        ni = settings(port, kind, watchdog_ms=100.0, pulse__power=None, **changes).model_dump(mode="json")
        self.config = NiDaqOutput.model_validate(ni | {"limits": limits()})
        values = {"driver": "ni_analog", "device": "Dev1", "server": f"127.0.0.1:{port}", "channel": "ai2"}
        self.wired = NiAnalogInput.model_validate(values | {"sample_rate_hz": 2000.0, "range_v": 5.0})
        self.bench = power_calibration.Bench(folder, clock, lambda s: clock.step(round(s * 1e9)))
        self.asked, self.since_ns = [], clock.now_ns()

    def announce(self, step):
        self.asked.append(step)
        self.since_ns = self.clock.now_ns()

    def read_mw(self, step):
        """What a slow meter shows on average since it was told to look."""
        now_ns, energy, t_ns, volts = self.clock.now_ns(), 0.0, self.since_ns, 0.0
        for edge_ns, level in [*self.card.light("ao0", ENABLE, self.since_ns), (now_ns, 0.0)]:
            energy += source_mw(volts) * (edge_ns - t_ns)
            t_ns, volts = edge_ns, level
        return energy / max(1, now_ns - self.since_ns)

    def measure(self, mw_per_v, steps=6):
        diode = DiodeMeter(NiAnalog("diode", self.wired, self.clock), self.wired.range_v, mw_per_v)
        wanted = power_calibration.steps_of(self.config, steps)
        typed = TypedMeter(self.announce, self.read_mw)
        try:
            return wanted, power_calibration.measure_by_diode("led", self.config, wanted, diode, typed, self.bench)
        finally:
            diode.close()


@contextmanager
def bench(tmp_path, sees=lambda mw: mw / MW_PER_V, kind="analog", **changes):
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns, WIRES, drift_ppm=30.0)
    with serving([card]) as (_, port):
        yield Bench(card, clock, port, tmp_path, kind, sees, **changes)


def test_the_power_of_every_step_is_told_and_the_ramp_ends_at_what_the_beam_may_carry(tmp_path):
    with bench(tmp_path) as it:
        steps, told = it.measure(MW_PER_V, steps=11)
        lit = steps[: len(told.powers_mw)]
        true = [source_mw(v) for v in lit]
        assert told.powers_mw == pytest.approx(true, rel=0.02, abs=0.05)
        assert true[-1] >= it.config.max_beam_mw > true[-2]
        highest_v = max(level for _, level in it.card.light("ao0", ENABLE))
        assert highest_v == lit[-1] < it.config.pulse.max_v
        assert it.card.level(ENABLE) == 0.0
        assert it.asked == []
        inside = [abs(a - b) <= 4 * e + 0.01 * b for a, b, e in zip(told.powers_mw, true, told.errors_mw, strict=True)]
        assert all(inside)
        table = PowerTable.model_validate(power_calibration.table_of(it.config, steps, told.powers_mw, "me"))
        assert table.volts_for("led", 10.0) == pytest.approx(6 / np.pi * 2 * np.arcsin(np.sqrt(10 / 30)), rel=0.03)
        with pytest.raises(LimitError, match="outside its calibration"):
            table.volts_for("led", told.powers_mw[-1] + 0.01)


def test_what_a_volt_is_follows_from_two_readings_of_the_meter(tmp_path):
    with bench(tmp_path) as it:
        steps, told = it.measure(None)
        assert it.asked == [steps[2], steps[len(told.powers_mw) - 1]]
        assert told.mw_per_v == pytest.approx(MW_PER_V, rel=0.02)
        assert told.powers_mw == pytest.approx([source_mw(v) for v in steps[: len(told.powers_mw)]], rel=0.03, abs=0.1)


@pytest.mark.parametrize(("stalls", "holds"), [([5], True), ([5, 8], True), (range(2, 100, 3), False)])
def test_a_step_that_a_busy_computer_has_tripped_is_lit_anew_but_not_for_ever(stalls, holds, tmp_path):
    with bench(tmp_path) as it:
        left = set(stalls)

        def sleep(seconds):
            """Stands still for longer than the watchdog once, right after certain pulses."""
            pulses = len(it.card.signal("ao0").steps()) // 2
            it.clock.step(round(seconds * 1e9) + (130 * MS if pulses in left else 0))
            left.discard(pulses)

        it.bench = it.bench._replace(sleep=sleep)
        if holds:
            steps, told = it.measure(MW_PER_V, steps=4)
            assert told.powers_mw == pytest.approx(
                [source_mw(v) for v in steps[: len(told.powers_mw)]], rel=0.03, abs=0.1
            )
        else:
            with pytest.raises(SafetyError, match="watchdog"):
                it.measure(MW_PER_V, steps=4)
        assert it.card.level(ENABLE) == 0.0


BAD = {
    "saturating": (lambda mw: mw / MW_PER_V / (1 + mw / 40), {}, None, "does not follow the power meter", "linear"),
    "at the end of its range": (lambda mw: mw / 2.0, {}, 2.0, "the end of its range", "range_v"),
    "seeing nothing": (lambda mw: 0.0, {}, MW_PER_V, "does not see the light", "follow its wire"),
    "seeing nothing, and asked": (lambda mw: 0.0, {}, None, "does not see the light", "follow its wire"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_photodiode_that_cannot_be_trusted_is_refused_and_leaves_it_dark(case, tmp_path):
    sees, changes, mw_per_v, words, remedy = BAD[case]
    with bench(tmp_path, sees, **changes) as it:
        with pytest.raises(DeviceError, match=words) as raised:
            it.measure(mw_per_v)
        assert str(raised.value).startswith("diode: ")
        assert remedy in raised.value.remedy
        assert it.card.level(ENABLE) == 0.0
        assert it.card.signal("ao0").at(it.clock.now_ns()) == 0.0


def test_a_source_with_one_power_needs_the_meter_or_a_known_photodiode(tmp_path):
    with bench(tmp_path, kind="gate") as it:
        with pytest.raises(ConfigError, match="only repeat what you type"):
            it.measure(None)
        assert it.card.light("port0/line0", ENABLE) == []


@pytest.mark.parametrize("late_ms", [0.0, 3.0])
@pytest.mark.parametrize("tau_ms", [0.01, 2.0])
def test_the_area_of_a_pulse_asks_neither_when_it_began_nor_how_fast_the_photodiode_is(late_ms, tau_ms):
    rate_hz, width_ms, period_ms, volts = 5000.0, 10.0, 200.0, 0.8
    t_ms = np.arange(0.0, 2000.0, 1000 / rate_hz)
    commands_ms = [100.0 + period_ms * i for i in range(9)]
    seen = np.full(len(t_ms), DARK_V)
    for start in commands_ms:
        x = t_ms - start - late_ms
        rise = np.clip(1 - np.exp(-np.maximum(x, 0) / tau_ms), 0, 1)
        fall = np.exp(-np.maximum(x - width_ms, 0) / tau_ms)
        seen += volts * np.where(x < width_ms, rise, (1 - np.exp(-width_ms / tau_ms)) * fall)
    lit = Lit(1.0, Flicker(width_ms, period_ms), tuple(round(t * 1e6) for t in commands_ms))
    reading = read_pulses((t_ms * 1e6).astype(np.int64), seen.astype(np.float32), rate_hz, lit)
    assert reading.volts == pytest.approx(volts, rel=0.02)
    assert reading.error_v < 0.01


def rig_file(tmp_path, **diode):
    rig = small_rig(microscope__pace="real_time")
    ni = settings(1, watchdog_ms=100.0, pulse__power=None).model_dump(mode="json")
    rig["outputs"]["led"] = ni | {"limits": rig["outputs"]["led"]["limits"]}
    rig["inputs"] = {"diode": {"driver": "ni_analog", "device": "Dev1", "channel": "ai2"} | diode}
    return str(write_rig(tmp_path, rig))


@pytest.mark.parametrize(("diode", "name", "code", "words"), [
    ({}, "dioden", 2, "no input 'dioden' with driver ni_analog in this rig. those there are: diode"),
    ({"sample_rate_hz": 100.0}, "diode", 2, "inputs.diode.sample_rate_hz: 100 Hz is too seldom"),
    ({}, "diode", 1, "no consent was typed"),
])  # fmt: skip
def test_nothing_is_lit_for_a_photodiode_that_is_not_there_too_slow_or_without_consent(
    diode, name, code, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    command = ["calibrate-power", rig_file(tmp_path, **diode), "led", "--person", "me", "--photodiode", name]
    assert main(command) == code
    assert words in capsys.readouterr().err
