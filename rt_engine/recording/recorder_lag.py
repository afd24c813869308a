"""A recorder that falls behind leaves out frames, in time, so that what waits behind them is not lost: events."""

from __future__ import annotations

import socket

from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.messages import FrameHeader

_USUAL_PERIOD_NS = NS_PER_S // 30
_BEHIND_SHARE = 0.5
_CAUGHT_UP_SHARE = 0.125
_SAY_EVERY_NS = 10 * NS_PER_S


class RecorderLag:
    """Judges by the age of each frame how far the recorder is behind.

    Frames and events come over the same inlet: while the disk takes its time over frames, events wait, and in the end
    their senders' queues are full. A frame costs the disk a thousand times what an event does, so frames give way once
    half of the inlet's queue would be frames, until an eighth is left.

    Parameters
    ----------
    queue_messages : int
        Messages that the inlet holds.
    host : str, optional
        Ours; the age of what comes from another is not known.

    Attributes
    ----------
    n_left_out : int
        Frame messages so far.
    """

    def __init__(self, queue_messages: int, host: str | None = None) -> None:
        self._queue_messages = queue_messages
        self._host = socket.gethostname() if host is None else host
        self._channels: set[int] = set()
        self._is_behind = False
        self._say_due_ns = 0
        self.n_left_out = 0

    def leaves_out(self, header: FrameHeader, now_ns: int) -> bool:
        """True if this frame must give way; it is counted."""
        if header.host != self._host:
            return False
        self._channels.add(header.channel)
        share = (now_ns - header.t_sent_ns) / (self._queue_messages * self._message_period_ns(header))
        self._is_behind = share > (_CAUGHT_UP_SHARE if self._is_behind else _BEHIND_SHARE)
        self.n_left_out += self._is_behind
        return self._is_behind

    def words(self, now_ns: int) -> str | None:
        """What there is to say, the first time at once and then every ten seconds at most."""
        if now_ns < self._say_due_ns:
            return None
        self._say_due_ns = now_ns + _SAY_EVERY_NS
        return (
            f"the disk does not keep up with the frames: {self.n_left_out} frame messages are left out so far, "
            "events and traces are kept"
        )

    def _message_period_ns(self, header: FrameHeader) -> float:
        """Mean time from one frame message to the next."""
        strips = header.lines_per_frame / max(1, header.n_lines)
        return (header.frame_period_ns or _USUAL_PERIOD_NS) / strips / len(self._channels)
