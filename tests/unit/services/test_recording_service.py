"""The recorder keeps a baseline whole where one is recorded, and nothing beyond what is asked for where none is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq
from mqtt_rig import until

from rt_engine.bench.loop.bench_rig import bench_rig
from rt_engine.interfaces.control import Role
from rt_engine.interfaces.errors import RecordingError
from rt_engine.interfaces.messages import FrameHeader, encode
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import Ports
from rt_engine.services.recording import RecordingService
from rt_engine.services.setup import Setup
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.key_store import KeyStore, read_client_key
from rt_engine.transport.security import secure_client
from rt_engine.transport.sockets import connect

SIDE_PX = 32


def open_recorder(folder: Path, keys: Path | None = None) -> RecordingService:
    """A recorder that is to keep no frames."""
    names = list(Ports().all_ports())
    described = bench_rig(SIDE_PX, dict(zip(names, free_ports(len(names)), strict=True)), keeps_frames=False)
    rig = RigConfig.model_validate(described).model_copy(update={"keys": None if keys is None else str(keys)})
    setup = Setup("recording", rig.model_dump(mode="json"), "s", str(folder), 0, 0, dry_run=False, lossless=False)
    service = RecordingService(setup)
    service.open()
    return service


def close(service: RecordingService) -> None:
    service.finish()
    service.publisher.close(linger_ms=0)
    service._supervisor.close()
    if service.guard is not None:
        service.guard.close()
    service.context.destroy(linger=0)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[RecordingService]:
    service = open_recorder(tmp_path)
    yield service
    close(service)


def test_no_client_writes_into_the_journal(tmp_path: Path) -> None:
    """Not even an operator: what stands there is what the rig's own services said."""
    store = KeyStore(tmp_path / "keys")
    key = read_client_key(store.new_client("anna", Role.OPERATOR))
    service = open_recorder(tmp_path, store.folder)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    secure_client(context, key)
    sender = connect(context, zmq.PUSH, service.rig.ports.endpoint("recorder_inlet"))
    sender.send_multipart([b"log", b"x"])
    refused: list[str] = []
    try:
        until(
            lambda: bool(service._inlet.poll(0) or refused), "an answer", lambda: refused.extend(service.guard.take())
        )
        assert not service._inlet.poll(0)
        assert "the key 'anna' is of role operator" in refused[0]
    finally:
        sender.close()
        context.destroy(linger=0)
        close(service)


@pytest.mark.parametrize("lossless", [False, True])
def test_what_comes_soon_after_a_message_is_taken_in_the_same_turn_unless_a_source_waits(
    recorder: RecordingService, monkeypatch: pytest.MonkeyPatch, lossless: bool
) -> None:
    recorder.setup = replace(recorder.setup, lossless=lossless)
    sender = connect(recorder.context, zmq.PUSH, recorder.rig.ports.endpoint("recorder_inlet"))
    taken: list[bytes] = []
    monkeypatch.setattr(recorder, "_write", lambda parts: taken.append(bytes(parts[1])))

    def meanwhile(seconds: float) -> None:
        assert 0.0 < seconds < 0.02
        sender.send_multipart([b"log", b"second"])
        until(lambda: len(taken) > 1 or recorder._inlet.poll(0) > 0, "the first is still there")
        time.sleep(0.5)

    monkeypatch.setattr("rt_engine.services.recording.time", SimpleNamespace(sleep=meanwhile))
    try:
        sender.send_multipart([b"log", b"first"])
        until(lambda: recorder._inlet.poll(0) > 0, "a message")
        recorder.step({recorder._inlet: zmq.POLLIN})
        assert taken == ([b"first"] if lossless else [b"first", b"second"])
    finally:
        sender.close()


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
