"""Where a journal lacks messages of the engine: what is decided after such a hole need not be what was decided then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import ActivityHeader, SpikesHeader
from rt_engine.recording.reader import Session


class Hole(NamedTuple):
    """Lost messages of one topic between two that are there; `before` and `after`: frames that enclose them."""

    topic: str
    before: int
    after: int
    n_messages: int

    def __str__(self) -> str:
        return f"{self.n_messages} messages of {self.topic} between frames {self.before} and {self.after} are lost"


def first_hole(session: Session, planes: Sequence[int]) -> Hole | None:
    """The first hole in what the engine told of some planes; None where there is none.

    Frames are passed over unread: one that is lost without its `spikes` is told by `kept_frames`.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    last: dict[str, tuple[int, int]] = {}
    for message in session.messages(*(f"{what}.{plane}" for plane in planes for what in ("spikes", "activity"))):
        try:
            header = message.header
        except MessageError:
            continue
        if not isinstance(header, SpikesHeader | ActivityHeader):
            continue
        sequence, frame = last.get(message.topic, (message.sequence - 1, header.frame))
        if message.sequence > sequence + 1:
            return Hole(message.topic, frame, header.frame, message.sequence - sequence - 1)
        last[message.topic] = message.sequence, header.frame
    return None
