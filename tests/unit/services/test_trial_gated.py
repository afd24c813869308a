"""A vendor that scans in trials, by loops or triggers: the source pauses between them, and goes on unharmed."""

from __future__ import annotations

import itertools
import time

import pytest
from microscope_sides import DEADLINE_S, ScanImageFileSide, ScanImageSide, ThorImageSide
from system_rig import small_rig

from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.messages import FrameHeader
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.acquisition import AcquisitionService
from rt_engine.services.setup import Setup

N_TRIALS, N_FRAMES = 2, 5
PAUSE_NS = 1_200_000_000
"""Longer than what could still be a vendor whose word is late, where its frames have no time of their own."""


def waits_for_a_trigger(side):
    """The next trial is of the same acquisition: numbers go on."""


def grabs_anew(side):
    """The next loop: what the vendor counts begins again, in files of its own where it writes files."""
    if isinstance(side, ScanImageSide):
        side.number = 0
    else:
        side.begin()


@pytest.fixture(params=[ScanImageSide, ScanImageFileSide, ThorImageSide])
def vendor(request, tmp_path, monkeypatch):
    """The side of a vendor, and an acquisition service that follows it; what is published is kept."""
    side = request.param(tmp_path)
    rig = RigConfig.model_validate(small_rig(microscope=side.config, trial_gated=True))
    config = rig.model_dump(mode="json")
    service = AcquisitionService(Setup("acquisition", config, "s", str(tmp_path), 0, 0, dry_run=True, lossless=False))
    sent, send = list[FrameHeader](), service.publisher.send
    monkeypatch.setattr(
        service.publisher, "send", lambda topic, header, *rest: sent.append(header) or send(topic, header, *rest)
    )
    try:
        service.open()
        yield side, service, sent
    finally:
        service.finish()
        service.publisher.close(linger_ms=0)
        service._supervisor.close(linger=0)
        service.context.destroy(linger=0)
        side.end()


def step_until(service, what, meanwhile=lambda: None):
    end_s = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < end_s, service.state
        meanwhile()
        service.step({})


@pytest.mark.parametrize("next_trial", [waits_for_a_trigger, grabs_anew])
def test_a_source_pauses_between_trials_and_goes_on_with_the_next(vendor, next_trial):
    side, service, sent = vendor
    stamps = itertools.count()
    side.begin()
    grabbed_ns = time.perf_counter_ns()

    def scan():
        side.date((time.perf_counter_ns() - grabbed_ns) / 1e9)
        side.scan(next(stamps))

    step_until(service, lambda: service._geometry is not None, scan)
    service.commands["segment"]({})
    step_until(service, lambda: service.state == "paused")
    sent.clear()
    frames = lambda: [one for one in sent if isinstance(one, FrameHeader) and one.channel == 0]  # noqa: E731
    begun = []
    for _ in range(N_TRIALS):
        next_trial(side)
        if next_trial is grabs_anew:
            grabbed_ns = time.perf_counter_ns()
        begun.append((len(frames()), time.perf_counter_ns()))
        for _ in range(N_FRAMES):
            n_before = len(frames())
            scan()
            step_until(service, lambda n=n_before: len(frames()) > n)
            assert service.state == "running"
        end_ns = time.perf_counter_ns() + PAUSE_NS
        step_until(service, lambda end_ns=end_ns: service.state == "paused" and time.perf_counter_ns() > end_ns)
        assert len(frames()) == begun[-1][0] + N_FRAMES, "no frame is missing, and none is invented"
    numbers = [one.frame for one in frames()]
    assert all(b > a for a, b in itertools.pairwise(numbers))
    for n, begun_ns in begun[1:]:
        first, gap = frames()[n], numbers[n] - numbers[n - 1]
        if next_trial is waits_for_a_trigger:
            assert (gap, first.flags & FrameFlag.LOST_BEFORE) == (1, 0)
        else:
            assert gap == 2, "one number is left out, so that everybody knows"
        assert first.t_scan_ns >= begun_ns - first.t_scan_uncertainty_ns
    times = [one.t_scan_ns for one in frames()]
    assert all(b > a for a, b in itertools.pairwise(times))
    assert service.dropped == service.gaps == 0
