"""A power table is what a meter read, and a rig takes it back."""

from __future__ import annotations

import io

import numpy as np
import pytest
import yaml
from ni_rig import ENABLE, WIRES, settings
from safety_rig import FakeClock, limits
from system_rig import small_rig, write_rig

from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.cli import main
from rt_engine.interfaces.errors import ConfigError, LimitError
from rt_engine.interfaces.output_config import NiDaqOutput
from rt_engine.interfaces.power_table import PowerTable
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.services import power_calibration
from rt_engine.services.power_meters import TypedMeter


def source_mw(volts):
    """What the light source gives: a Pockels cell below its maximum."""
    return 30.0 * np.sin(np.pi / 2 * volts / 6.0) ** 2


class Meter:
    """Averages the light since it was last read."""

    def __init__(self, card, clock):
        self.card, self.clock, self.since_ns = card, clock, clock.now_ns()

    def read_mw(self, step):
        now_ns, energy, t_ns, volts = self.clock.now_ns(), 0.0, self.since_ns, 0.0
        for edge_ns, level in [*self.card.light("ao0", ENABLE, self.since_ns), (now_ns, 0.0)]:
            energy += source_mw(volts) * (edge_ns - t_ns)
            t_ns, volts = edge_ns, level
        mean = energy / max(1, now_ns - self.since_ns)
        self.since_ns = now_ns
        return mean


def test_the_power_in_a_pulse_is_recovered_from_the_average_on_the_meter(tmp_path):
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns, WIRES)
    with serving([card]) as (_, port):
        ni = settings(port, watchdog_ms=100.0, pulse__power=None, max_beam_mw=30.0).model_dump(mode="json")
        config = NiDaqOutput.model_validate(ni | {"limits": limits()})
        steps = power_calibration.steps_of(config, 6)
        assert steps == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        meter, lit = Meter(card, clock), []
        bench = power_calibration.Bench(tmp_path, clock, lambda s: clock.step(round(s * 1e9)))
        powers = power_calibration.measure("led", config, steps, TypedMeter(lit.append, meter.read_mw), bench)
        assert lit == steps
        assert powers == pytest.approx([source_mw(v) for v in steps], rel=0.02)
        light = card.light("ao0", ENABLE)
        widths = {fall - rise for (rise, _), (fall, _) in zip(light[::2], light[1::2], strict=True)}
        assert widths == {10_000_000}
        assert card.level(ENABLE) == 0.0
        table = power_calibration.table_of(config, steps, powers, "me")
        assert PowerTable.model_validate(table).volts_for("led", powers[3]) == pytest.approx(3.0, abs=1e-3)


def test_a_curve_that_falls_is_no_table():
    ni = settings(1, pulse__power=None).model_dump(mode="json")
    config = NiDaqOutput.model_validate(ni | {"limits": limits()})
    with pytest.raises(ConfigError, match="must rise"):
        power_calibration.table_of(config, [0.0, 1.0, 2.0], [0.0, 5.0, 4.0], "me")


def test_nothing_is_extrapolated_and_between_two_steps_the_line_counts():
    table = PowerTable(date="2026-11-29", person="t", volts=(1.0, 2.0, 4.0), power_mw=(2.0, 4.0, 20.0))
    for power_mw, volts in ((2.0, 1.0), (3.0, 1.5), (4.0, 2.0), (12.0, 3.0), (20.0, 4.0)):
        assert table.volts_for("led", power_mw) == pytest.approx(volts)
    for power_mw in (1.99, 20.01, -1.0, float("nan")):
        with pytest.raises(LimitError, match="outside its calibration"):
            table.volts_for("led", power_mw)


def test_the_flicker_stays_within_every_limit():
    one = power_calibration.flicker(limits(max_width_ms=8.0, max_rate_hz=20.0, max_duty=0.02, min_gap_ms=30.0))
    assert one.width_ms == 8.0
    assert one.period_ms >= max(1000 / 20, 8 + 30, 8 / 0.02)
    assert (10_000 / one.period_ms + 1) * 8.0 <= 0.02 * 10_000


def ni_file(tmp_path, power, port=1):
    rig = small_rig(microscope__pace="real_time")
    ni = settings(port, watchdog_ms=100.0, pulse__power=None).model_dump(mode="json")
    rig["outputs"]["led"] = ni | {"limits": rig["outputs"]["led"]["limits"]}
    rig["outputs"]["led"]["pulse"]["power"] = power
    return write_rig(tmp_path, rig)


def test_a_rig_takes_the_file_that_was_written_and_refuses_limits_beyond_it(tmp_path):
    table = {"date": "2026-11-29", "person": "me", "volts": [0.0, 4.0], "power_mw": [0.0, 25.0]}
    (tmp_path / "led.power.yaml").write_text(yaml.safe_dump(table))
    config = load_rig(ni_file(tmp_path, "led.power.yaml")).outputs["led"]
    assert config.power.power_mw == (0.0, 25.0)
    (tmp_path / "led.power.yaml").write_text(yaml.safe_dump(table | {"power_mw": [0.0, 15.0]}))
    with pytest.raises(ConfigError, match="max_power_mw 20 is more than was measured, 15 mW"):
        load_rig(ni_file(tmp_path, "led.power.yaml"))
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        load_rig(ni_file(tmp_path, "missing.yaml"))


def test_an_uncalibrated_rig_runs_dry_only_and_says_how_to_measure(tmp_path, capsys):
    rig = ni_file(tmp_path, None)
    assert main(["run", str(rig), "--no-gui", "--output", str(tmp_path / "s")]) == 2
    assert "calibrate-power" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_nothing_is_lit_without_consent(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    assert main(["calibrate-power", str(ni_file(tmp_path, None)), "led", "--person", "me"]) == 1
    assert "no consent" in capsys.readouterr().err
    assert main(["calibrate-power", str(ni_file(tmp_path, None)), "lamp", "--person", "me"]) == 2
