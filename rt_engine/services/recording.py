"""Recording service: every message of the session goes into the journal."""

from __future__ import annotations

import contextlib
import re
import time
from typing import Any

import zmq

from rt_engine.interfaces.errors import MessageError, RecordingError
from rt_engine.interfaces.messages import HEADERS, AckHeader, FrameHeader, decode_as, topic_name
from rt_engine.recording.frame_policy import FramePolicy
from rt_engine.recording.frame_store import FrameStore
from rt_engine.recording.journal import JournalWriter, create_journal_file
from rt_engine.recording.recorder_lag import RecorderLag
from rt_engine.services.base import Service
from rt_engine.services.disk_watch import DiskWatch
from rt_engine.transport.security import SERVICES
from rt_engine.transport.sockets import bind, queue_length, take_parts

_BATCH = 64
_GATHERS_S = 0.002
"""After the first message others are let come, and taken in one turn: nobody waits for the recorder but a lossless
source, and each of its turns takes a core from the loop."""
_MOST_WAITING = 2000
_TOPIC = re.compile(r"[a-z]+(\.\d{1,3}){0,2}")
_MOST_TOPICS = 4096


class RecordingService(Service):
    """Owns the journal. A failed disk ends the journal cleanly, and everybody learns of it by `health`."""

    source = "recording"
    port = "recording"
    held_bytes = 16 << 20  # for what waits: in 0.4 s, 1,000 cells at 500 frames/s send 5 MiB beside the frames
    create_file = staticmethod(create_journal_file)
    """Makes the files of the journal; another one may be slow, or refuse."""

    def open(self) -> None:
        """Begin the journal."""
        setup = self.setup
        config = self.rig.recording
        self._journal = JournalWriter(
            setup.path(),
            setup.t_wall_ns,
            setup.t_monotonic_ns,
            flush_s=config.flush_s,
            file_bytes=int(config.file_mb * 1e6),
            create_file=self.create_file,
        )
        self._policy = FramePolicy(config)
        self._store = FrameStore(setup.path()) if config.frame_store == "zarr" else None
        self._disk = DiskWatch(setup.path(), config.min_free_mb)
        endpoint = self.rig.ports.endpoint("recorder_inlet")
        queue = queue_length(512 * 1024)
        self._lag = RecorderLag(queue)
        self._inlet = bind(self.context, zmq.PULL, endpoint, queue, admits=SERVICES)
        self.poller.register(self._inlet, zmq.POLLIN)
        self.commands |= {"rotate": self._rotate, "no_baseline": self._no_baseline}
        self._failed = self._resumed = False
        self._topics: set[str] = set()
        self.frames_written = 0

    def step(self, ready: dict[Any, int]) -> None:
        """Write what has come, flush in time, watch the disk."""
        if self._inlet in ready and not self.setup.lossless:
            time.sleep(_GATHERS_S)
        for _ in range(_BATCH):
            parts = take_parts(self._inlet)
            if parts is None:
                break
            self._write([part.buffer for part in parts])
        now_ns = self.clock.now_ns()
        if not self._failed:
            self._guarded_tick(now_ns)
            self._notice_removal(now_ns)
        self._watch_disk(now_ns)

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
        if self._store is not None:
            try:
                self._store.close()
            except RecordingError as error:
                self._end_store(error)
        self._disk.release()
        self._inlet.close()

    def _write(self, parts: list[memoryview]) -> None:
        if len(parts) < 2:
            self.dropped += 1
            return
        topic = bytes(parts[0]).decode(errors="replace")
        payload = parts[2] if len(parts) > 2 else b""
        if not self._is_topic(topic):
            self.dropped += 1
            return
        header = bytes(parts[1])
        if topic.startswith("frame."):
            if self._gives_way(topic, parts[1]):
                return
            for kept in self._policy.keep(topic, header, payload):
                self._journal_one(*kept)
                self.frames_written += 1
                self._store_one(*kept)
            self._acknowledge(topic, parts[1])
            return
        if topic == "rois":
            self._policy.learn_cells(topic, header, payload)
        self._journal_one(topic, header, payload)

    def _is_topic(self, topic: str) -> bool:
        """True for topics of the wire; each takes a channel of the journal, of which there is no end of names."""
        if topic in self._topics:
            return True
        known = topic_name(topic) in HEADERS and _TOPIC.fullmatch(topic) and len(self._topics) < _MOST_TOPICS
        if known:
            self._topics.add(topic)
        return bool(known)

    def _journal_one(self, topic: str, header: bytes, payload: bytes | memoryview) -> None:
        if self._failed:
            self.dropped += 1
            return
        try:
            self._journal.write(topic, header, payload, self.clock.now_ns())
        except RecordingError as error:
            self.dropped += 1
            self._fail(error)

    def _gives_way(self, topic: str, header: memoryview) -> bool:
        """True if a frame is left out because the disk is too slow; where the source waits for us it never is."""
        if self.setup.lossless or not self._policy.enabled:
            return False
        try:
            frame = decode_as(FrameHeader, topic, header)
        except MessageError:
            return False
        now_ns = self.clock.now_ns()
        if not self._lag.leaves_out(frame, now_ns):
            return False
        self.dropped += 1
        words = self._lag.words(now_ns)
        if words is not None:
            self.log("warning", words)
        return True

    def _store_one(self, topic: str, header: bytes, payload: bytes | memoryview) -> None:
        """The copy of a frame that the journal has; whatever becomes of the copy, the journal goes on."""
        if self._store is None or not topic.startswith("frame."):
            return
        try:
            self._store.add(decode_as(FrameHeader, topic, header), payload)
        except MessageError:
            return
        except RecordingError as error:
            self._end_store(error)

    def _end_store(self, error: RecordingError) -> None:
        store, self._store = self._store, None
        self.log("error", f"{error.message}; the journal goes on, the copy ends here")
        if store is not None:
            with contextlib.suppress(RecordingError):  # said already
                store.close()

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

    def _notice_removal(self, now_ns: int) -> None:
        """A file that somebody removes is replaced by the next: what comes from now on is kept."""
        try:
            self._journal.require_there(now_ns)
        except RecordingError as error:
            try:
                path = self._journal.resume()
            except RecordingError as again:
                self._fail(again)
            else:
                self.log("error", f"{error.message}; going on in {path.name}")

    def _fail(self, error: RecordingError) -> None:
        """Once, go on without frames in a new file, in the room held back for that; then the journal has ended."""
        if self._failed:
            return
        if not self._resumed:
            self._resumed = True
            self._disk.release()
            try:
                path = self._journal.resume()
            except RecordingError as again:
                error = again
            else:
                self._end_frames(f"{error.message}; going on in {path.name}")
                return
        self._failed = True
        self.announce("failed", error)

    def _end_frames(self, why: str) -> None:
        if self._policy.enabled:
            self._policy.enabled = False
            self.log("warning", f"{why}: frames are no longer recorded, everything else is", frames=self.frames_written)

    def _watch_disk(self, now_ns: int) -> None:
        found = self._disk.look(now_ns)
        if found == "end":
            self._end_frames(f"only {self._disk.free_mb:.0f} MB are left on the disk")
        elif found is not None:
            self.log("warning", found)

    def _rotate(self, args: dict[str, Any]) -> dict[str, Any]:
        """Close the present file after all that is waiting has been written; a baseline ends here."""
        for _ in range(_MOST_WAITING):
            parts = take_parts(self._inlet)
            if parts is None:
                break
            self._write([part.buffer for part in parts])
        try:
            closed = self._journal.rotate()
        except RecordingError as error:
            self._fail(error)
            raise
        self._policy.baseline = bool(args.get("baseline", False))
        return {"closed": str(closed), "frames_left_out": self._policy.n_left_out + self._lag.n_left_out}

    def _no_baseline(self, args: dict[str, Any]) -> dict[str, Any]:
        """The calibration is there already: from the first frame on, what the rig asks to be kept is kept."""
        self._policy.baseline = False
        return {}
