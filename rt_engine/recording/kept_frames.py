"""How far the frames of a session go: a full or slow disk, or a torn file, ends them before the events."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import FrameHeader, Mode, SpikesHeader
from rt_engine.recording.reader import JournalMessage, Session

_MOST_LINES = 1 << 16


@dataclass(frozen=True, slots=True)
class KeptFrames:
    """Live frames with their pixels, up to the first that was decided and is not there.

    Attributes
    ----------
    first_live : int or None
        First frame that was decided live (volume, where the source gave volumes); None: the session never went live.
    first_without : int or None
        First of them whose pixels are not all in the journal; None: all are there.
    last_live : int or None
    """

    first_live: int | None
    first_without: int | None
    last_live: int | None


def kept_frames(session: Session, planes: Sequence[int], channels: Sequence[int]) -> KeptFrames:
    """Compare what was decided live with what was kept of it.

    Parameters
    ----------
    session : Session
    planes, channels : sequence of int
        Of every frame all of `channels` must be there.

    Raises
    ------
    RecordingError
        A file cannot be opened.

    Notes
    -----
    Memory is 16 bytes a message of lines: 1.7 MB for an hour of whole frames at 30 Hz.
    """
    kept = {(plane, channel): _Lines() for plane in planes for channel in channels}
    for message in session.messages(*(f"frame.{plane}.{channel}" for plane, channel in kept)):
        header = _header(message)
        if isinstance(header, FrameHeader):
            kept[header.plane, header.channel].add(header)
    for lines in kept.values():
        lines.close()
    first_live: int | None = None
    first_without: int | None = None
    last_live: int | None = None
    has_volumes = False
    for spikes in _live(session, planes):
        has_volumes |= spikes.volume is not None
        if has_volumes and spikes.volume is None:
            continue  # the flyback
        index = spikes.frame if spikes.volume is None else spikes.volume
        first_live = index if first_live is None else min(first_live, index)
        last_live = index if last_live is None else max(last_live, index)
        if not all(kept[spikes.plane, channel].has(spikes) for channel in channels):
            first_without = index if first_without is None else min(first_without, index)
    return KeptFrames(first_live, first_without, last_live)


class _Lines:
    """Which lines of a plane and channel stand in the journal."""

    def __init__(self) -> None:
        self._keys = array("q")
        self._sorted: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, header: FrameHeader) -> None:
        self._keys.append(header.frame * _MOST_LINES + header.line0)

    def close(self) -> None:
        self._sorted = np.sort(np.frombuffer(self._keys, np.int64))

    def has(self, spikes: SpikesHeader) -> bool:
        key = spikes.frame * _MOST_LINES + spikes.line0
        at = int(np.searchsorted(self._sorted, key))
        return at < len(self._sorted) and int(self._sorted[at]) == key


def _live(session: Session, planes: Sequence[int]) -> Iterator[SpikesHeader]:
    for message in session.messages(*(f"spikes.{plane}" for plane in planes)):
        header = _header(message)
        if isinstance(header, SpikesHeader) and header.mode is Mode.LIVE:
            yield header


def _header(message: JournalMessage) -> object:
    try:
        return message.header
    except MessageError:
        return None
