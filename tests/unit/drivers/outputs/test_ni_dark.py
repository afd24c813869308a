"""What keeps an NI output dark where a second thing has failed already."""

from __future__ import annotations

import pytest
from ni_rig import CHANNEL, ENABLE, ni_rig, settings
from safety_rig import MS, FakeClock

from drivers.outputs.ni_daq import NiDaqOutput
from drivers.outputs.ni_shape import Shape, pulse_samples
from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.messages import Outcome
from rt_engine.safety.interlock import InterlockState

KINDS = sorted(CHANNEL)


def test_the_voltage_is_clamped_whatever_the_table_of_power_says() -> None:
    """A rig file whose table goes beyond `max_v` is refused; the driver does not rely on that."""
    with ni_rig() as rig:
        rig.output._config = rig.config.model_copy(
            update={"pulse": rig.config.pulse.model_copy(update={"max_v": 1.5}), "max_beam_mw": 20.0}
        )
        rig.armed()
        decision = rig.interlock.request(rig.request(power_mw=16.0))
        assert decision.outcome is Outcome.FAILED
        assert "voltage_v" in decision.reason
        assert rig.light() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_train_that_was_cut_does_not_go_on_when_the_output_is_armed_again(kind: str) -> None:
    with ni_rig(kind=kind) as rig:
        rig.armed()
        rig.interlock.request(rig.request(pulses=5, period_ms=200.0, width_ms=10.0))
        rig.turn(205)
        rig.interlock.trip("command", "trip", "-", "stop")
        t_dark_ns = rig.clock.now_ns()
        rig.interlock.reset("looked at")
        rig.armed()
        rig.turn(1000)
        assert [t for t, level in rig.light() if level > 0 and t > t_dark_ns] == []


def test_a_card_whose_enable_line_cannot_be_lowered_is_left_to_its_watchdog() -> None:
    with ni_rig(bounds={"max_width_ms": 500.0, "max_duty": 1.0}) as rig:
        rig.armed()
        fed_ns = rig.clock.now_ns()
        rig.interlock.request(rig.request(width_ms=400.0))

        def refused(high: bool) -> None:
            raise DeviceError("led", "the line does not answer", "look at the cable")

        rig.output._enable = refused
        rig.output.safe_state()
        rig.clock.step(1000 * MS)
        assert rig.card.level(ENABLE) == 0.0
        assert rig.card.signal(ENABLE).steps()[-1] == (fed_ns + 50 * MS, 0.0)


def test_an_expired_watchdog_is_told_where_the_card_takes_its_feeding_without_a_word() -> None:
    with ni_rig() as rig:
        rig.armed()
        rig.card.feed = lambda task: None  # type: ignore[method-assign]
        rig.turn(60, alive=False)
        rig.beat()
        rig.interlock.tend(rig.clock.now_ns())
        assert rig.interlock.state is InterlockState.TRIPPED
        assert "it expired, not fed within 50 ms" in rig.interlock.trips[-1].text


def test_lines_that_a_dead_process_has_left_locked_are_unlocked() -> None:
    """A card in this computer forgets the process and not what its watchdog has locked."""
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns)
    card.faults.add(f"locked:{ENABLE}")
    with serving([card]) as (_, port):
        output = NiDaqOutput("led", settings(port), clock, lambda light: None)
        output.open()
        assert output.self_test()
        output.arm()
        assert card.level(ENABLE) == 1.0
        output.close()


def test_a_width_between_two_samples_is_cut_and_pulses_that_would_touch_are_refused() -> None:
    samples = pulse_samples(Shape(2, 1090, 3000, 1.0), 10_000.0)
    assert samples.tolist() == [1.0] * 10 + [0.0] * 20 + [1.0] * 10 + [0.0]
    with pytest.raises(ValueError, match="touch at 1000 Hz"):
        pulse_samples(Shape(2, 2900, 2400, 1.0), 1000.0)
    with pytest.raises(ValueError, match="touch"):
        pulse_samples(Shape(2, 2000, 2000, 1.0), 1000.0)
