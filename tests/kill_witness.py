"""Somebody outside a run who hears its phases, frames, decisions and light, and says afterwards what is missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

import zmq

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import FrameHeader, LightHeader, SessionHeader, SpikesHeader, decode

_TOPICS = (b"light", b"spikes.", b"session", b"frame.0.0")
_SERVICES = ("supervisor", "acquisition", "inference", "stimulation")


class Witness:
    """Listens from before the run is up until `close`.

    Attributes
    ----------
    t_light_ns : list of int
        When each pulse began.
    frames : dict of int to int
        Number of a frame that was published to the time when it was.
    decided : dict of int to int
        Number of a frame that was decided to the time when its events were published.
    phase : str
        Of the run, as last heard.
    """

    def __init__(self, ports: dict[str, int]) -> None:
        self.t_light_ns: list[int] = []
        self.frames: dict[int, int] = {}
        self.decided: dict[int, int] = {}
        self.phase = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(ports,), daemon=True)
        self._thread.start()

    def _listen(self, ports: dict[str, int]) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.SUB)
        socket.set_hwm(100_000)
        for name in _SERVICES:
            socket.connect(f"tcp://127.0.0.1:{ports[name]}")
        for topic in _TOPICS:
            socket.subscribe(topic)
        while not self._stop.is_set():
            if not socket.poll(50):
                continue
            topic, data, *_ = socket.recv_multipart()
            self._take(decode(topic.decode(), data))
        socket.close(linger=0)
        context.destroy(linger=0)

    def _take(self, header: object) -> None:
        if isinstance(header, LightHeader):
            self.t_light_ns.append(header.t_on_ns)
        elif isinstance(header, FrameHeader):
            self.frames[header.frame] = header.t_sent_ns
        elif isinstance(header, SpikesHeader):
            self.decided[header.frame] = header.t_sent_ns
        elif isinstance(header, SessionHeader):
            self.phase = header.state

    def await_phase(self, *phases: str, deadline_s: float) -> None:
        """Wait until the run is in one of `phases`.

        Raises
        ------
        TimeoutError
            It was not within `deadline_s`.
        """
        until_s = time.monotonic() + deadline_s
        while self.phase not in phases:
            if time.monotonic() > until_s:
                raise TimeoutError(f"the run is in phase {self.phase!r}, none of {phases} came")
            time.sleep(0.002)

    def close(self) -> None:
        """Listen no longer."""
        self._stop.set()
        self._thread.join(10)


@dataclass(frozen=True, slots=True)
class Missing:
    """What a session lacks of what was published.

    Attributes
    ----------
    at_the_end : list of int
        Frames published before the kill, after the last one kept.
    inside : list of int
        Frames published, or decided, before the last one kept, and not kept: holes.
    numbers_skipped : list of int
        Numbers before the last one kept that nobody ever published: the source was late.
    """

    at_the_end: list[int]
    inside: list[int]
    numbers_skipped: list[int]


def missing_frames(witness: Witness, kept: Iterable[int], t_kill_ns: int) -> Missing:
    """Compare the numbers of the frames in a session with those that were heard."""
    there = set(kept)
    last = max(there, default=-1)
    heard = witness.frames | witness.decided
    at_the_end = sorted(frame for frame, t_ns in heard.items() if frame > last and t_ns <= t_kill_ns)
    inside = sorted(frame for frame in heard if frame < last and frame not in there)
    skipped = set(range(min(there, default=0), last)) - there - heard.keys()
    return Missing(at_the_end, inside, sorted(skipped))


def missing_numbers(messages: Iterable[object]) -> dict[str, list[int]]:
    """Gaps in the numbers that every sender gives its messages, by sender and topic.

    Parameters
    ----------
    messages : iterable of JournalMessage
        A session from its beginning.
    """
    last: dict[tuple[str, str, str], int] = {}
    gaps: dict[str, list[int]] = {}
    for message in messages:
        try:
            header = message.header  # type: ignore[attr-defined]
        except MessageError:
            continue
        topic: str = message.topic  # type: ignore[attr-defined]
        key = (header.source, header.boot_id, topic)
        if header.seq > last.get(key, -1) + 1:
            gaps.setdefault(f"{header.source} {topic}", []).extend(range(last.get(key, -1) + 1, header.seq))
        last[key] = header.seq
    return gaps
