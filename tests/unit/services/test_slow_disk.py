"""A disk that is slower than the frames costs frames, said with their number, and never an event."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safety_rig import FakeClock, S

from rt_engine.bench.loop.bench_rig import bench_rig
from rt_engine.interfaces.messages import FrameHeader, Header, Mode, SpikesHeader, encode
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import Ports
from rt_engine.recording.journal import create_journal_file
from rt_engine.recording.reader import open_session
from rt_engine.services.recording import RecordingService
from rt_engine.services.setup import Setup
from rt_engine.transport.free_ports import free_ports

SIDE_PX = 64
FRAME_BYTES = 2 * SIDE_PX**2
RATE_HZ = 30
STAMP: dict[str, Any] = {"session": "s", "host": "here", "boot_id": "b"}
Message = tuple[int, str, Header, bytes]


class SlowFile:
    """A file on a disk of `bytes_per_s`: every write takes its time on the clock."""

    def __init__(self, path: Path, clock: FakeClock, bytes_per_s: float) -> None:
        self._file, self._clock, self._bytes_per_s = create_journal_file(path), clock, bytes_per_s

    def write(self, data: bytes | memoryview, /) -> int | None:
        """Write, slowly."""
        self._clock.step(round(len(data) / self._bytes_per_s * S))
        return self._file.write(data)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut."""
        return self._file.truncate(size)

    def close(self) -> None:
        """Close."""
        self._file.close()


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RecordingService]]:
    """Recorders on a disk of some bytes a second."""
    made: list[RecordingService] = []
    monkeypatch.setattr("rt_engine.recording.recorder_lag.socket.gethostname", lambda: "here")

    def make(bytes_per_s: float, *, lossless: bool = False) -> RecordingService:
        names = list(Ports().all_ports())
        rig = bench_rig(SIDE_PX, dict(zip(names, free_ports(len(names)), strict=True)), keeps_frames=True)
        rig["recording"]["min_free_mb"] = 1e-6
        setup = Setup("recording", RigConfig.model_validate(rig).model_dump(mode="json"), "s", str(tmp_path), 0, 0,
                      dry_run=False, lossless=lossless)  # fmt: skip
        clock = FakeClock()
        service = RecordingService(setup, clock)
        service.create_file = lambda path: SlowFile(path, clock, bytes_per_s)  # type: ignore[method-assign]
        service.open()
        made.append(service)
        return service

    yield make
    for service in made:
        service.finish()
        service.publisher.close(linger_ms=0)
        service._supervisor.close()
        service.context.destroy(linger=0)


def stream(t0_ns: int, seconds: int) -> Iterator[Message]:
    """Frames and what is decided on them: time of sending, topic, header, payload."""
    for frame in range(seconds * RATE_HZ):
        t_ns = t0_ns + frame * S // RATE_HZ
        stamp = STAMP | {"seq": frame, "t_sent_ns": t_ns}
        yield t_ns, "frame.0.0", FrameHeader(
            **stamp, source="acquisition", plane=0, channel=0, frame=frame, volume=None, line0=0, n_lines=SIDE_PX,
            lines_per_frame=SIDE_PX, pixels_per_line=SIDE_PX, dtype="u2", adc_max=None, offset=None,
            frame_period_ns=S // RATE_HZ, line_period_ns=None, t_scan_ns=t_ns, t_scan_uncertainty_ns=None,
            t_device_s=None, flags=0,
        ), bytes(FRAME_BYTES)  # fmt: skip
        yield t_ns, "spikes.0", SpikesHeader(
            **stamp, source="inference", plane=0, frame=frame, line0=0, n_lines=SIDE_PX, hold_frames=1, mode=Mode.LIVE,
            t_scan_ns=t_ns, t_received_ns=t_ns, t_decided_ns=t_ns, n_events=0,
        ), b""  # fmt: skip


def record(service: RecordingService, seconds: int) -> int:
    """Messages reach the recorder in the order in which they were sent; most of them that ever waited."""
    clock: Any = service.clock
    waiting, coming, most = deque[Message](), deque(stream(clock.now_ns(), seconds)), 0
    while coming or waiting:
        while coming and coming[0][0] <= clock.now_ns():
            waiting.append(coming.popleft())
        most = max(most, len(waiting))
        if not waiting:
            clock.step(coming[0][0] - clock.now_ns())
            continue
        _, topic, header, payload = waiting.popleft()
        service._write([memoryview(part) for part in (topic.encode(), encode(header), payload)])
        service._guarded_tick(clock.now_ns())
    return most


def test_on_a_slow_disk_frames_give_way_and_every_event_is_kept(
    recorder: Callable[..., RecordingService], tmp_path: Path
) -> None:
    said: list[tuple[str, str]] = []
    service = recorder(0.5 * FRAME_BYTES * RATE_HZ)
    service.log = lambda level, text, **fields: said.append((level, text))  # type: ignore[method-assign]
    seconds = 120
    most_waiting = record(service, seconds)
    service._journal.close()
    session = open_session(tmp_path)
    n = seconds * RATE_HZ
    assert [m.header.frame for m in session.messages("spikes")] == list(range(n))
    kept = [header.frame for header, _ in session.frames()]
    assert 0.4 * n < len(kept) < 0.55 * n  # the disk takes a little under half
    assert service.dropped == n - len(kept) == service._lag.n_left_out
    assert most_waiting < 2 * 256  # half of what the inlet holds, of either kind; and twice that with the senders' own
    assert session.is_complete
    assert said[0][0] == "warning"
    assert "the disk does not keep up with the frames" in said[0][1]
    assert "events and traces are kept" in said[0][1]
    assert 2 <= len(said) <= 1 + seconds // 10


def test_a_disk_that_stands_still_for_a_moment_costs_nothing(
    recorder: Callable[..., RecordingService], tmp_path: Path
) -> None:
    service = recorder(4.0 * FRAME_BYTES * RATE_HZ)
    clock: Any = service.clock
    write = service._journal.write

    def hiccup(topic: str, *rest: Any) -> None:
        if topic == "frame.0.0" and service.frames_written == 100:
            clock.step(3 * S)
        write(topic, *rest)

    service._journal.write = hiccup  # type: ignore[method-assign]
    record(service, 20)
    service._journal.close()
    assert [header.frame for header, _ in open_session(tmp_path).frames()] == list(range(20 * RATE_HZ))
    assert service.dropped == 0


def test_where_the_source_waits_no_frame_gives_way(recorder: Callable[..., RecordingService], tmp_path: Path) -> None:
    service = recorder(0.5 * FRAME_BYTES * RATE_HZ, lossless=True)
    record(service, 20)
    service._journal.close()
    assert len(list(open_session(tmp_path).frames())) == 20 * RATE_HZ


def test_the_age_of_what_another_host_sent_is_not_known(recorder: Callable[..., RecordingService]) -> None:
    service = recorder(1e9)
    header = next(stream(0, 1))[2]
    assert isinstance(header, FrameHeader)
    assert service._lag.leaves_out(header, 10**12)
    there = FrameHeader(**{name: getattr(header, name) for name in header.__struct_fields__} | {"host": "there"})
    assert not service._lag.leaves_out(there, 10**12)
