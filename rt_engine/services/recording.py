"""Recording service: every message of the session goes into the journal."""

from __future__ import annotations

from typing import Any

import zmq

from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.errors import MessageError, RecordingError
from rt_engine.interfaces.messages import AckHeader, FrameHeader, decode_as
from rt_engine.recording.journal import JournalWriter, free_space_mb
from rt_engine.services.base import Service
from rt_engine.transport.sockets import bind, queue_length

_BATCH = 64
_MOST_WAITING = 2000


class RecordingService(Service):
    """Owns the journal. A failed disk ends the journal cleanly, and everybody learns of it by `health`."""

    source = "recording"
    port = "recording"

    def open(self) -> None:
        """Begin the journal."""
        setup = self.setup
        self._journal = JournalWriter(
            setup.path(), setup.t_wall_ns, setup.t_monotonic_ns, flush_s=self.rig.recording.flush_s
        )
        endpoint = self.rig.ports.endpoint("recorder_inlet")
        self._inlet = bind(self.context, zmq.PULL, endpoint, queue_length(512 * 1024))
        self.poller.register(self._inlet, zmq.POLLIN)
        self.commands["rotate"] = self._rotate
        self._keep_frames = self.rig.recording.frames == "all"
        self._baseline = True
        self._space_due_ns = 0
        self._failed = False
        self.frames_written = 0

    def step(self, ready: dict[Any, int]) -> None:
        """Write what has come, flush in time, watch the disk."""
        for _ in range(_BATCH):
            if not self._inlet.poll(0):
                break
            parts = self._inlet.recv_multipart(copy=False)
            self._write([part.buffer for part in parts])
        now_ns = self.clock.now_ns()
        if not self._failed:
            self._guarded_tick(now_ns)
        if now_ns >= self._space_due_ns:
            self._space_due_ns = now_ns + NS_PER_S
            self._watch_space()

    def finish(self) -> None:
        """Write what is still waiting, and close the file."""
        if not hasattr(self, "_inlet"):
            return
        while self._inlet.poll(200):
            parts = self._inlet.recv_multipart(copy=False)
            self._write([part.buffer for part in parts])
        try:
            self._journal.close()
        except RecordingError as error:
            self._fail(error)
        self._inlet.close()

    def _write(self, parts: list[memoryview]) -> None:
        if len(parts) < 2:
            self.dropped += 1
            return
        topic = bytes(parts[0]).decode(errors="replace")
        payload = parts[2] if len(parts) > 2 else b""
        is_frame = topic.startswith("frame.")
        if is_frame and not (self._keep_frames or self._baseline):
            self._acknowledge(topic, parts[1])
            return
        if self._failed:
            self.dropped += 1
        else:
            try:
                self._journal.write(topic, bytes(parts[1]), payload, self.clock.now_ns())
                self.frames_written += is_frame
            except RecordingError as error:
                self._fail(error)
        if is_frame:
            self._acknowledge(topic, parts[1])

    def _acknowledge(self, topic: str, header: memoryview) -> None:
        if not self.setup.lossless:
            return
        try:
            frame = decode_as(FrameHeader, topic, header)
        except MessageError:
            self.dropped += 1
            return
        name = f"ack.{frame.plane}"
        ack = AckHeader(**self.publisher.stamp(name), plane=frame.plane, frame=frame.frame)
        self.publisher.send(name, ack, record=False)

    def _guarded_tick(self, now_ns: int) -> None:
        try:
            self._journal.tick(now_ns)
        except RecordingError as error:
            self._fail(error)

    def _fail(self, error: RecordingError) -> None:
        if self._failed:
            return
        self._failed = True
        self.announce("failed", error)

    def _watch_space(self) -> None:
        free_mb = free_space_mb(self.setup.path())
        if self._keep_frames and free_mb < self.rig.recording.min_free_mb:
            self._keep_frames = False
            self.log(
                "warning",
                f"only {free_mb:.0f} MB are left on the disk: frames are no longer recorded, everything else is",
            )

    def _rotate(self, args: dict[str, Any]) -> dict[str, Any]:
        """Close the present file after all that is waiting has been written; a baseline ends here."""
        for _ in range(_MOST_WAITING):
            if not self._inlet.poll(0):
                break
            parts = self._inlet.recv_multipart(copy=False)
            self._write([part.buffer for part in parts])
        try:
            closed = self._journal.rotate()
        except RecordingError as error:
            self._fail(error)
            raise
        self._baseline = bool(args.get("baseline", False))
        return {"closed": str(closed)}
