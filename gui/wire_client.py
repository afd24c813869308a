"""The thread that listens: sockets with bounded queues in, an inbox of bounded size out."""

from __future__ import annotations

import threading
from collections import deque

import zmq

from gui.endpoints import Endpoints
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import FrameHeader, Header, decode
from rt_engine.transport.sockets import connect, take_parts

TOPICS = ("session", "rois", "candidates", "state", "health", "log", "stim", "light", "sync", "spikes.", "activity.")
MAX_WAITING = 2000
MAX_BAD_WAITING = 100
_QUEUE = 2000
_FRAME_QUEUE = 8
_MAX_MESSAGE_BYTES = 256 * 1024 * 1024
_POLL_MS = 50
_GATHER_S = 0.008

Message = tuple[str, Header, memoryview]


class WireClient:
    """Subscribes to a rig and keeps what the window has not taken yet.

    The inbox holds `MAX_WAITING` messages; what does not fit pushes out the oldest and is counted. Of frames, the
    newest whole picture of each plane and channel is all that a window needs: of those waiting only the last is kept
    (strips of one frame stay together).

    Parameters
    ----------
    context : zmq.Context
    endpoints : Endpoints
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoints: Endpoints) -> None:
        self._context = context
        self._endpoints = endpoints
        self._lock = threading.Lock()
        self._waiting: deque[Message] = deque(maxlen=MAX_WAITING)
        self._frames: dict[str, deque[Message]] = {}
        self._bad: deque[tuple[str, MessageError]] = deque(maxlen=MAX_BAD_WAITING)
        self._planes: set[int] = set()
        self._wanted_planes: set[int] = set(endpoints.planes)
        self._stopping = threading.Event()
        self.n_pushed_out = 0
        self.n_bad = 0
        self._thread = threading.Thread(target=self._listen, name="spikeloop-window-wire", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening and wait for the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def listen_to_plane(self, plane: int) -> None:
        """Also hear the inference service of another plane."""
        with self._lock:
            self._wanted_planes.add(plane)

    def take_all(self) -> tuple[list[Message], list[tuple[str, MessageError]]]:
        """Everything that waits, in the order of arrival, frames last; and what could not be decoded."""
        with self._lock:
            messages = list(self._waiting)
            self._waiting.clear()
            for frames in self._frames.values():
                messages += frames
                frames.clear()
            bad = list(self._bad)
            self._bad.clear()
        return messages, bad

    def _listen(self) -> None:
        notes = connect(self._context, zmq.SUB, self._endpoints.of("supervisor"), _QUEUE)
        frames = connect(self._context, zmq.SUB, self._endpoints.of("acquisition"), _FRAME_QUEUE)
        for socket in (notes, frames):
            socket.setsockopt(zmq.MAXMSGSIZE, _MAX_MESSAGE_BYTES)
        for endpoint in self._endpoints.publishers():
            if endpoint != self._endpoints.of("supervisor"):
                notes.connect(endpoint)
        for topic in TOPICS:
            notes.subscribe(topic.encode())
        frames.subscribe(b"frame.")
        poller = zmq.Poller()
        poller.register(notes, zmq.POLLIN)
        poller.register(frames, zmq.POLLIN)
        try:
            while not self._stopping.is_set():
                self._connect_planes(notes)
                ready = dict(poller.poll(_POLL_MS))
                for socket in (notes, frames):
                    if socket in ready:
                        self._receive(socket)
                # What comes meanwhile is taken together: waking up for each message costs more than the message.
                self._stopping.wait(_GATHER_S)
        finally:
            notes.close()
            frames.close()

    def _connect_planes(self, notes: zmq.Socket[bytes]) -> None:
        with self._lock:
            new = self._wanted_planes - self._planes
            self._planes |= new
        for plane in new:
            notes.connect(self._endpoints.inference_of(plane))

    def _receive(self, socket: zmq.Socket[bytes]) -> None:
        for _ in range(200):
            waiting = take_parts(socket)
            if waiting is None:
                return
            parts = [part.buffer for part in waiting]
            topic = bytes(parts[0][:200]).decode(errors="replace")
            try:
                if len(parts) < 2:
                    raise MessageError("a message has a topic and a header")
                header = decode(topic, parts[1])
            except MessageError as error:
                with self._lock:
                    self.n_bad += 1
                    self._bad.append((topic, error))
                continue
            self._keep(topic, header, parts[2] if len(parts) > 2 else memoryview(b""))

    def _keep(self, topic: str, header: Header, payload: memoryview) -> None:
        with self._lock:
            if not isinstance(header, FrameHeader):
                self.n_pushed_out += len(self._waiting) == MAX_WAITING
                self._waiting.append((topic, header, payload))
                return
            if topic not in self._frames:
                if len(self._frames) >= 64:
                    return
                self._frames[topic] = deque(maxlen=1024)
            kept = self._frames[topic]
            if header.n_lines == header.lines_per_frame:
                kept.clear()
            elif header.line0 == 0:
                while kept and getattr(kept[0][1], "frame", 0) < header.frame - 1:
                    kept.popleft()
            kept.append((topic, header, payload))
