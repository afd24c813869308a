"""The real inference service under frames that are lost, repeated, reordered, broken, late and too many."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from free_ports import free_ports

from rt_engine.bench.loop.bench_rig import bench_rig
from rt_engine.bench.loop.field import PlantedLoop, plant_loop
from rt_engine.interfaces.calibration import save_calibration
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import FateHeader, FrameHeader, SpikesHeader, decode
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import FrameWay, Ports
from rt_engine.services.inference import InferenceService
from rt_engine.services.setup import Setup
from rt_engine.services.straight_ways import frame_sender
from rt_engine.transport.source_publisher import IO_THREADS, SourcePublisher

SIDE_PX, N_CELLS = 96, 16
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def planted() -> PlantedLoop:
    return plant_loop(N_CELLS, SIDE_PX, 60, 3)


class Rig:
    """One inference service in this process, its source and its listener, on a clock that is set by hand."""

    def __init__(self, planted: PlantedLoop, folder: Path, frames_by: FrameWay) -> None:
        self.planted, self.frames_by = planted, frames_by
        names = list(Ports().all_ports())
        rig = bench_rig(SIDE_PX, dict(zip(names, free_ports(len(names)), strict=True)), keeps_frames=False)
        rig["inference"] |= {"deadline_ms": 40.0, "max_backlog_frames": 4, "frames_by": frames_by.value}
        setup = Setup("inference", RigConfig.model_validate(rig).model_dump(mode="json"), "s", str(folder), 0, 0,
                      dry_run=False, lossless=False, recorded=False)  # fmt: skip
        self.now = 10 * NS_PER_S
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
        ports = setup.rig_config().ports
        self.source = SourcePublisher(
            self.context, ports.endpoint("acquisition"), None, engine_endpoint=ports.endpoint("engine_frames"),
            source="acquisition", session="s", clock=self, straight=frame_sender(setup),
        )  # fmt: skip
        self.service = InferenceService(setup, self)
        self.service.open()
        self.listener = self.context.socket(zmq.SUB)
        self.listener.connect(ports.inference_endpoint(0))
        self.listener.subscribe(b"spikes.")
        self.listener.subscribe(b"fate.")
        self.heard: list[Any] = []
        path = folder / "calibration.h5"
        save_calibration(path, planted.calibration)
        self.service.commands["calibrate"]({"path": str(path)})
        self._connect()

    def now_ns(self) -> int:
        """The clock of everybody here."""
        return self.now

    def _connect(self) -> None:
        """Until frames come through, and `spikes` come back."""
        give_up_s = time.monotonic() + DEADLINE_S
        self.next = 0
        while not (self.heard and self._is_joined()) and time.monotonic() < give_up_s:
            self.send(self.next)
            self.next += 1
            time.sleep(0.01)
            self.turn()
        self.service.commands["go_live"]({"from_frame": self.next})
        assert self.heard
        assert self._is_joined()

    def _is_joined(self) -> bool:
        """True once frames come the way that is under test."""
        return self.service._intake._ways.is_straight is (self.frames_by is FrameWay.SHARED_MEMORY)

    def send(self, frame: int, *, line0: int = 0, n_lines: int = SIDE_PX, flags: int = 0, age_ms: float = 1.0,
             cut: int = 0, blanked: list[list[int]] | None = None) -> None:  # fmt: skip
        """One message of lines, scanned `age_ms` ago; `cut` bytes are missing at its end."""
        header = FrameHeader(
            **self.source.stamp("frame.0.0"), plane=0, channel=0, frame=frame, volume=None, line0=line0,
            n_lines=n_lines, lines_per_frame=SIDE_PX, pixels_per_line=SIDE_PX, dtype="u2", adc_max=None, offset=None,
            frame_period_ns=33 * NS_PER_MS, line_period_ns=None, t_scan_ns=self.now - round(age_ms * NS_PER_MS),
            t_scan_uncertainty_ns=0, t_device_s=None, flags=flags, blanked=blanked or [],
        )  # fmt: skip
        pixels = self.planted.frames[frame % len(self.planted.frames), line0 : line0 + n_lines].tobytes()
        self.source.send("frame.0.0", header, pixels[: len(pixels) - cut])

    def turn(self) -> None:
        """Let the service work off what has come."""
        self.service.step({})
        while self.listener.poll(1):
            topic, data, *_ = self.listener.recv_multipart()
            self.heard.append(decode(topic.decode(), data))

    def until(self, done: Any) -> None:
        """Turn until `done` says yes."""
        give_up_s = time.monotonic() + DEADLINE_S
        while not done():
            self.turn()
            assert time.monotonic() < give_up_s, self.service.commands["status"]({})

    def counts(self) -> dict[Fate, int]:
        return self.service._book.counts

    def close(self) -> None:
        self.service.finish()
        self.service.publisher.close(linger_ms=0)
        self.service._supervisor.close()
        self.service.context.destroy(linger=0)
        self.listener.close()
        self.source.close(linger_ms=0)
        self.context.destroy(linger=0)


@pytest.fixture(params=list(FrameWay))
def rig(planted: PlantedLoop, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig(planted, tmp_path, request.param)
    yield made
    made.close()


def _told(rig: Rig, fate: Fate) -> list[tuple[int, int]]:
    return [(h.first, h.n) for h in rig.heard if isinstance(h, FateHeader) and h.fate is fate]


def test_every_number_from_the_first_to_the_last_has_its_fate_and_is_told(rig: Rig) -> None:
    k = rig.next
    rig.send(k)
    rig.send(k + 1)
    rig.send(k + 1)  # twice
    rig.send(k + 4)  # two are missing
    rig.send(k + 3)  # one of them comes after all
    rig.send(k + 5, flags=int(FrameFlag.DISCARD))
    rig.send(k + 6, age_ms=50.0)  # past the deadline
    rig.send(k + 7, blanked=[[4, 6]])
    rig.send(k + 8, line0=0, n_lines=32)
    rig.send(k + 8, line0=64, n_lines=32)  # the lines between are missing
    rig.send(k + 9, line0=0, n_lines=32)  # begun and never ended
    rig.send(k + 10)
    rig.send(k + 11)
    counts = rig.counts()
    rig.until(lambda: counts[Fate.DECIDED] >= 7)
    rig.until(lambda: len(_told(rig, Fate.REFUSED)) == 2 and bool(_told(rig, Fate.BLANKED)))
    assert rig.service._book.n_unaccounted == 0
    assert counts[Fate.DECIDED] == 7
    assert counts[Fate.UNUSED] > 0
    assert _told(rig, Fate.MISSING) == [(k + 2, 2)]
    assert _told(rig, Fate.DUPLICATED) == [(k + 1, 1)]
    assert _told(rig, Fate.OUT_OF_ORDER) == [(k + 3, 1)]
    assert _told(rig, Fate.DISCARDED) == [(k + 5, 1)]
    assert _told(rig, Fate.LATE) == [(k + 6, 1)]
    assert _told(rig, Fate.BLANKED) == [(k + 7, 1)]
    assert _told(rig, Fate.REFUSED) == [(k + 8, 1), (k + 9, 1)]


def test_a_late_decision_says_so_where_it_is_made(rig: Rig) -> None:
    k = rig.next
    rig.send(k, age_ms=1.0)
    rig.send(k + 1, age_ms=60.0)
    rig.until(lambda: rig.counts()[Fate.LATE] == 1)
    rig.until(lambda: any(isinstance(h, SpikesHeader) and h.frame == k + 1 for h in rig.heard))
    late = {h.frame: h.late for h in rig.heard if isinstance(h, SpikesHeader) and h.frame >= k}
    assert late == {k: False, k + 1: True}


def test_under_overload_the_newest_frame_is_reached_and_the_gap_is_advanced_over(rig: Rig) -> None:
    k, n = rig.next, 12
    rig.send(k)
    rig.until(lambda: rig.counts()[Fate.DECIDED] == 1)
    for frame in range(k + 1, k + 1 + n):
        rig.send(frame, age_ms=33.0 * (k + n - frame) + 1.0)
    time.sleep(0.2)  # several of them wait now
    counts = rig.counts()
    rig.until(lambda: counts[Fate.DECIDED] + counts[Fate.SKIPPED] == n + 1)
    assert counts[Fate.SKIPPED]
    rig.until(lambda: sum(n for _, n in _told(rig, Fate.SKIPPED)) == counts[Fate.SKIPPED])  # they are on their way
    skipped = {first for first, _ in _told(rig, Fate.SKIPPED)}
    too_far_behind = set(range(k + 1, k + n - 4))
    assert skipped <= too_far_behind
    rig.until(lambda: any(isinstance(h, SpikesHeader) and h.frame == k + n for h in rig.heard))
    assert rig.service._book.n_unaccounted == 0


def test_a_frame_cut_short_is_refused_and_its_number_is_missing_afterwards(rig: Rig) -> None:
    k = rig.next
    rig.send(k)
    rig.send(k + 1, cut=100)
    rig.send(k + 2)
    rig.until(lambda: rig.counts()[Fate.DECIDED] == 2)
    rig.until(lambda: bool(_told(rig, Fate.MISSING)))
    assert _told(rig, Fate.MISSING) == [(k + 1, 1)]
    assert rig.service.commands["status"]({})["messages_refused"] == 1
