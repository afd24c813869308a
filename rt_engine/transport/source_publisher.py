"""What the source of the frames publishes: the engine is served first, everybody who only looks a moment later."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import zmq

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.messages import Header, encode
from rt_engine.transport.publisher import Parts, Payload, Publisher
from rt_engine.transport.sockets import bind, connect, queue_length, send_parts
from rt_engine.transport.straight_frames import FrameSender

IO_THREADS = 2
"""Of the source's context: one for the engine alone."""
HEAD_START_NS = 5_000_000
"""Longer than the way to the command: copying for those who look does not compete with it at usual rates."""
_MOST_WAITING = 256
_FLUSH_S = 10.0
_ASSUMED_BYTES = 1 << 20
"""Of a frame message whose size is not known in time: between 512 x 512 and 1024 x 1024 pixels."""
_RECORDER_SHARE = 4
_MUCH_GB = 2.0
_SMALL_QUEUE = 1000
"""Of the messages for the recorder that are no frames: a start may take a minute."""
_FOR_ENGINE, _FOR_OTHERS = 1, 2


class FrameQueues(NamedTuple):
    """Frame messages that may wait in this process, for each reader that does not take them.

    They hold from the start: a queue is never changed while it is in use, for its other end counts by the old length.

    Attributes
    ----------
    lookers, engine, recorder : int
    """

    lookers: int = 1000
    engine: int = 1000
    recorder: int = 1000


LONGEST_QUEUES = FrameQueues()


def frame_queues(message_bytes: int | None, *, lossless: bool) -> FrameQueues:
    """Queues for messages of so many bytes; None where nobody knows before the source is open.

    Whoever looks, and the engine, have `QUEUE_BYTES`; the recorder has four times that, for its disk may stand still.
    A lossless source waits instead, and is ahead of engine and recorder by a bounded number of frames.
    """
    if lossless:
        return LONGEST_QUEUES
    assumed = _ASSUMED_BYTES if message_bytes is None else message_bytes
    shallow = min(LONGEST_QUEUES.lookers, queue_length(assumed))
    deep = min(LONGEST_QUEUES.recorder, queue_length(assumed // _RECORDER_SHARE))
    return FrameQueues(shallow, shallow, deep)


class _Message(NamedTuple):
    """One message for those who look; of no frame if `due_ns` is 0."""

    parts: Parts
    record: bool
    due_ns: int


class SourcePublisher(Publisher):
    """Frames go to the engine at once, on a socket of its own, and to all others a moment later.

    The engine's socket carries `frame` and `health`, in order; PUB socket and recorder get everything, by a thread
    that is named after what it does. Frames keep their order among each other; other messages do not wait for them.

    Parameters
    ----------
    context : zmq.Context
        Made with `IO_THREADS`.
    endpoint, recorder_endpoint, source, session, clock, queue_length, lossless, interrupted
        As `Publisher`.
    engine_endpoint : str
        Where inference subscribes.
    queues : FrameQueues
        How many frame messages may wait for a reader; other messages for the recorder have a queue of their own.
    straight : FrameSender, optional
        By which inference gets its messages while it listens there; closed with the rest.
    head_start_ns : int
        How much later the others get a frame.

    Attributes
    ----------
    records_pixels : bool
        False: the recorder gets only the headers of frames, as it would keep no frame anyway.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        recorder_endpoint: str | None,
        *,
        engine_endpoint: str,
        source: str,
        session: str,
        clock: Clock,
        queues: FrameQueues = LONGEST_QUEUES,
        lossless: bool = False,
        interrupted: Callable[[], bool] = lambda: False,
        head_start_ns: int = HEAD_START_NS,
        straight: FrameSender | None = None,
    ) -> None:
        super().__init__(
            context, endpoint, recorder_endpoint, source=source, session=session, clock=clock, queue=queues.lookers,
            lossless=lossless, interrupted=interrupted, affinity=_FOR_OTHERS, recorder_queue=_SMALL_QUEUE,
        )  # fmt: skip
        self._engine = bind(context, zmq.PUB, engine_endpoint, queues.engine, affinity=_FOR_ENGINE)
        self._frames_to_recorder = None
        if recorder_endpoint:
            kind = zmq.PUSH
            self._frames_to_recorder = connect(context, kind, recorder_endpoint, queues.recorder, affinity=_FOR_OTHERS)
        self._queues = queues
        self._straight = straight
        self._head_start_ns = head_start_ns
        self.records_pixels = True
        self._begin()

    def _begin(self) -> None:
        self._later: queue.SimpleQueue[_Message | threading.Event | None] = queue.SimpleQueue()
        self._held: deque[_Message] = deque()
        self._thread = threading.Thread(target=self._serve_others, daemon=True, name="frames-to-others")
        self._thread.start()

    def send(self, topic: str, header: Header, payload: Payload | None = None, *, record: bool = True) -> None:
        """Give the engine what is for it, and leave the rest to the thread. `payload` is copied before this returns."""
        is_frame = topic.startswith("frame.")
        is_for_engine = is_frame or topic == "health"
        data = encode(header)
        if is_for_engine and self._straight is not None:
            pixels = None if payload is None else memoryview(payload)
            is_for_engine = not self._straight.send(topic.encode(), data, pixels)
        parts = self.parts(topic, data, payload)
        if is_for_engine:
            send_parts(self._engine, parts)
        while self._later.qsize() >= _MOST_WAITING:  # whoever looks is never lost for want of a moment
            time.sleep(0.001)
        self._later.put(_Message(parts, record, time.perf_counter_ns() + self._head_start_ns if is_frame else 0))

    def most_waiting_in_words(self, message_bytes: int) -> str | None:
        """What messages of so many bytes may take here at most, if that is a lot; None if it is not."""
        looker, recorder = (n * message_bytes / 1e9 for n in (self._queues.lookers, self._queues.recorder))
        if recorder <= _MUCH_GB:
            return None
        return (
            f"a frame has {message_bytes / 1e6:.1f} MB: up to {recorder:.1f} GB may wait here while the recorder "
            f"stands still, and {looker:.1f} GB for each program that looks at frames and does not keep up"
        )

    @property
    def why_not_straight(self) -> str:
        """Why the engine gets messages though it asked for shared memory; empty if it does not."""
        return "" if self._straight is None else self._straight.why_not

    @property
    def n_dropped(self) -> int:
        """Messages that recorder or engine did not get, for want of room."""
        return self.recorder_dropped + (0 if self._straight is None else self._straight.dropped)

    def flush(self) -> None:
        """Return when all that was sent has been given to everybody."""
        done = threading.Event()
        self._later.put(done)
        done.wait(_FLUSH_S)

    def close(self, linger_ms: int = 1000) -> None:
        """Give the rest to everybody, then close all sockets."""
        if self._thread.is_alive():
            self._later.put(None)
            self._thread.join(_FLUSH_S)
        if self._straight is not None:
            self._straight.close()
        self._engine.close(linger=linger_ms)
        if self._frames_to_recorder is not None:
            self._frames_to_recorder.close(linger=linger_ms)
        super().close(linger_ms)

    def _serve_others(self) -> None:
        """The thread: messages as they come, frames when they are due."""
        while True:
            with contextlib.suppress(queue.Empty):
                message = self._later.get(timeout=self._wait_s())
                if message is None:
                    self._pass_on_due(None)
                    return
                self._take(message)
            self._pass_on_due(time.perf_counter_ns())

    def _take(self, message: _Message | threading.Event) -> None:
        if isinstance(message, threading.Event):
            self._pass_on_due(None)
            message.set()
        elif message.due_ns:
            self._held.append(message)
        else:
            self.pass_on(message.parts, record=message.record)

    def _send_to_recorder(self, parts: Parts) -> None:
        topic = parts[0]
        if self._frames_to_recorder is None or not isinstance(topic, bytes) or not topic.startswith(b"frame."):
            super()._send_to_recorder(parts)
        else:
            self._push(self._frames_to_recorder, parts if self.records_pixels else [*parts[:2], b""])

    def _wait_s(self) -> float | None:
        """Until the oldest frame is due; None if there is none."""
        return max(0.0, (self._held[0].due_ns - time.perf_counter_ns()) / NS_PER_S) if self._held else None

    def _pass_on_due(self, now_ns: int | None) -> None:
        """Frames that are due; all of them with None."""
        while self._held and (now_ns is None or self._held[0].due_ns <= now_ns):
            message = self._held.popleft()
            self.pass_on(message.parts, record=message.record)
