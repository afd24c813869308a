"""Times of other computers: never younger than they are, and none at all while a clock is not known."""

from __future__ import annotations

import numpy as np
import pytest
from wire_samples import frame, spikes

from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import ClockHeader, FrameHeader, SpikesHeader
from rt_engine.interfaces.service_config import Ports
from rt_engine.services.host_clocks import HostClocks, Shift, localize, localize_events

RIG, SCOPE, BRAIN = "10.0.0.1", "10.0.0.2", "10.0.0.3"
PORTS = Ports(host=RIG, hosts={"acquisition": SCOPE, "inference": BRAIN})
SECOND = 1_000_000_000


class StillClock:
    """Tells the time that it was given."""

    def __init__(self, t_ns: int) -> None:
        self.t_ns = t_ns

    def now_ns(self) -> int:
        return self.t_ns


def told(peer: str, offset_ns: int, uncertainty_ns: int, t_measured_ns: int | None) -> ClockHeader:
    common = {"source": "supervisor", "host": "h", "boot_id": "b", "seq": 0, "t_sent_ns": 0}
    figures = {"offset_ns": offset_ns, "uncertainty_ns": uncertainty_ns, "t_measured_ns": t_measured_ns}
    return ClockHeader(**common, peer=peer, **figures)


def test_services_of_one_computer_share_its_clock() -> None:
    assert HostClocks(PORTS, RIG, StillClock(0)).shift_of("recording") == Shift(0, 0)
    assert HostClocks(PORTS, BRAIN, StillClock(0)).shift_of("inference.0") == Shift(0, 0)


def test_offsets_subtract_and_uncertainties_add() -> None:
    now_ns = 100 * SECOND
    clocks = HostClocks(PORTS, BRAIN, StillClock(now_ns - 7 * SECOND))
    assert clocks.shift_of("acquisition") is None
    clocks.learn(told(SCOPE, 3 * SECOND, 1000, now_ns))
    assert clocks.shift_of("acquisition") is None, "where am I myself?"
    clocks.learn(told(BRAIN, 7 * SECOND, 20, now_ns))
    assert clocks.shift_of("acquisition") == Shift(-4 * SECOND, 1020)
    assert clocks.shift_of("recording") == Shift(-7 * SECOND, 20)


def test_uncertainty_grows_while_nobody_measures() -> None:
    clock = StillClock(100 * SECOND)
    clocks = HostClocks(PORTS, RIG, clock)
    clocks.learn(told(SCOPE, 5, 1000, 100 * SECOND))
    clock.t_ns += 2 * SECOND
    assert clocks.shift_of("acquisition") == Shift(5, 1000 + 2 * SECOND * 500 // 1_000_000)


@pytest.mark.parametrize(
    "header", [told(SCOPE, 1, -1, 5), told(SCOPE, 1, 1, None), told(RIG, 999, 0, 5)], ids=["negative", "when", "own"]
)
def test_what_makes_no_sense_is_not_learned(header: ClockHeader) -> None:
    clocks = HostClocks(PORTS, RIG, StillClock(0))
    clocks.learn(header)
    assert clocks.shift_of("acquisition") is None
    assert clocks.shift_of("recording") == Shift(0, 0)


@pytest.mark.parametrize("error_ns", [-1000, -1, 0, 999, 1000])
def test_an_age_is_never_judged_shorter_than_it_is(error_ns: int) -> None:
    true_ns, shift = -5 * SECOND, Shift(-5 * SECOND + error_ns, 1000)
    header = spikes(1)[1]
    assert isinstance(header, SpikesHeader)
    header.t_scan_ns, header.t_decided_ns, header.t_received_ns = 8 * SECOND, 9 * SECOND, 9 * SECOND
    header.t_scan_uncertainty_ns = None
    now_ns = 9 * SECOND + true_ns
    localize(header, shift)
    assert header.t_scan_uncertainty_ns == 1000
    assert now_ns - header.t_scan_ns + header.t_scan_uncertainty_ns >= SECOND, "the true age"
    assert 0 <= now_ns - header.t_decided_ns <= 2000, "decided now: not in the future, and at most twice the bound ago"


def test_frames_carry_the_uncertainty_on() -> None:
    header = frame()[1]
    assert isinstance(header, FrameHeader)
    header.t_scan_ns, header.t_scan_uncertainty_ns = 50, 7
    localize(header, Shift(100, 3))
    assert (header.t_scan_ns, header.t_scan_uncertainty_ns) == (150, 10)


def test_events_are_told_in_the_time_of_the_receiver() -> None:
    events = np.zeros(3, EVENT_DTYPE)
    events["t_event_ns"], events["roi_id"] = [1, 2, 3], [7, 8, 9]
    moved = np.frombuffer(localize_events(events.tobytes(), Shift(10, 5)), EVENT_DTYPE)
    assert moved["t_event_ns"].tolist() == [11, 12, 13]
    assert moved["roi_id"].tolist() == [7, 8, 9]
    assert localize_events(b"no events", Shift(10, 5)) == b"no events"
