"""The recorder keeps a baseline whole where one is recorded, and nothing beyond what is asked for where none is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from free_ports import free_ports

from rt_engine.bench.loop.bench_rig import bench_rig
from rt_engine.interfaces.errors import RecordingError
from rt_engine.interfaces.messages import FrameHeader, encode
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import Ports
from rt_engine.services.recording import RecordingService
from rt_engine.services.setup import Setup

SIDE_PX = 32


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[RecordingService]:
    """A recorder that is to keep no frames."""
    names = list(Ports().all_ports())
    rig = bench_rig(SIDE_PX, dict(zip(names, free_ports(len(names)), strict=True)), keeps_frames=False)
    setup = Setup("recording", RigConfig.model_validate(rig).model_dump(mode="json"), "s", str(tmp_path), 0, 0,
                  dry_run=False, lossless=False)  # fmt: skip
    service = RecordingService(setup)
    service.open()
    yield service
    service.finish()
    service.publisher.close(linger_ms=0)
    service._supervisor.close()
    service.context.destroy(linger=0)


def take_frame(recorder: RecordingService) -> int:
    """How many frames are in the journal after one more has come."""
    header = FrameHeader(
        source="a", host="h", boot_id="b", seq=0, t_sent_ns=1, plane=0, channel=0, frame=0, volume=None, line0=0,
        n_lines=SIDE_PX, lines_per_frame=SIDE_PX, pixels_per_line=SIDE_PX, dtype="u2", adc_max=None, offset=None,
        frame_period_ns=1, line_period_ns=None, t_scan_ns=7, t_scan_uncertainty_ns=None, t_device_s=None, flags=0,
    )  # fmt: skip
    recorder._write([memoryview(part) for part in (b"frame.0.0", encode(header), bytes(2 * SIDE_PX**2))])
    return recorder.frames_written


@pytest.mark.parametrize("ends_with", ["rotate", "no_baseline"])
def test_no_frames_are_kept_from_the_end_of_the_baseline_on_or_where_there_is_none(
    recorder: RecordingService, ends_with: str
) -> None:
    assert take_frame(recorder) == 1
    recorder.commands[ends_with]({})
    assert take_frame(recorder) == 1


def test_a_copy_that_cannot_be_written_ends_alone(
    recorder: RecordingService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses:
        def add(self, header: FrameHeader, payload: object) -> None:
            raise RecordingError("frames.zarr: frames cannot be written: no")

        def close(self) -> None:
            raise RecordingError("nor closed")

    said: list[str] = []
    monkeypatch.setattr(recorder, "log", lambda level, text, **fields: said.append(text))
    recorder._store = Refuses()  # type: ignore[assignment]
    assert [take_frame(recorder), take_frame(recorder)] == [1, 2]
    assert said == ["frames.zarr: frames cannot be written: no; the journal goes on, the copy ends here"]


def test_frames_of_the_baseline_that_are_not_on_the_disk_are_told_at_its_end(recorder: RecordingService) -> None:
    take_frame(recorder)
    assert recorder.commands["rotate"]({"baseline": True})["frames_left_out"] == 0
    recorder._end_frames("only 3 MB are left on the disk")
    take_frame(recorder)
    take_frame(recorder)
    assert recorder.commands["rotate"]({})["frames_left_out"] == 2
