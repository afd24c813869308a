"""Reading a session, complete, running or crashed: messages in order, frames as arrays, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError, MessageError, RecordingError
from rt_engine.interfaces.messages import (
    HEADERS,
    WIRE_VERSION,
    ClockHeader,
    FrameHeader,
    Header,
    decode,
    decode_as,
    topic_name,
)
from rt_engine.interfaces.yaml_files import read_yaml
from rt_engine.recording.journal import HEADER_LENGTH
from rt_engine.recording.journal_clocks import JournalClocks, ports_of
from rt_engine.recording.mcap_walk import Damage, McapWalk, RawMessage
from rt_engine.recording.recovery_report import Recovery, read_recovery

if TYPE_CHECKING:
    import pandas

    from rt_engine.recording.session_arrays import Activity

_FRAME_DTYPES = {"u2": np.dtype("<u2"), "i2": np.dtype("<i2")}
FIRST_FILE = "session_000.mcap"
_SEQUENCE_RANGE = 1 << 32


class JournalMessage:
    """One wire message as it was journalled.

    Attributes
    ----------
    topic : str
    header_bytes, payload : memoryview
        As on the wire, read-only.
    t_log_ns : int
        Unix time of writing, nanoseconds.
    sequence : int
        Number within its topic.
    """

    __slots__ = ("_clocks", "_header", "header_bytes", "payload", "sequence", "t_log_ns", "topic")

    def __init__(
        self,
        topic: str,
        header_bytes: memoryview,
        payload: memoryview,
        t_log_ns: int,
        clocks: JournalClocks | None = None,
        sequence: int = 0,
    ) -> None:
        self._clocks = clocks
        self.sequence = sequence
        self.topic = topic
        self.header_bytes = header_bytes
        self.payload = payload
        self.t_log_ns = t_log_ns
        self._header: Header | None = None

    @property
    def header(self) -> Header:
        """Decoded header; decoded when first asked for. Its times are in the clock of the supervisor's computer.

        Raises
        ------
        MessageError
            The message violates the wire contract (it is kept as it came).
        """
        if self._header is None:
            self._header = decode(self.topic, self.header_bytes)
            if self._clocks is not None:
                self._clocks.apply(self._header, self.t_log_ns)
        return self._header


class Session:
    """A recorded session; make it with `open_session`. Iterating again reads the files again.

    Attributes
    ----------
    folder : Path
    files : list of Path
        The journal, in order.
    malformed_frames : int
        Frame messages whose payload does not fit their header, as seen by `frames`.
    """

    def __init__(self, folder: Path, files: list[Path]) -> None:
        self.folder = folder
        self.files = files
        self.malformed_frames = 0
        self._damage: list[Damage] | None = None
        self._lost: dict[str, int] = {}

    @property
    def calibration_path(self) -> Path | None:
        """The calibration of the session, None if there is none."""
        path = self.folder / "calibration.h5"
        return path if path.is_file() else None

    def config(self) -> dict[str, Any]:
        """The resolved rig config; empty if the session has none.

        Raises
        ------
        ConfigError
            ``config.yaml`` is there and cannot be read.
        """
        path = self.folder / "config.yaml"
        return read_yaml(path) if path.is_file() else {}

    @property
    def damage(self) -> list[Damage]:
        """What of the files cannot be read; known from the last whole iteration, else the files are read now."""
        if self._damage is None:
            for _ in self.messages():
                pass
        return list(self._damage or ())

    @property
    def lost(self) -> dict[str, int]:
        """Messages known to be missing, by topic (after the last whole message nobody can count them)."""
        if self._damage is None:
            for _ in self.messages():
                pass
        return dict(self._lost)

    @property
    def is_whole(self) -> bool:
        """True if every file has its end and no byte of it is damaged; messages may be missing all the same."""
        return not self.damage

    @property
    def is_complete(self) -> bool:
        """True if the session is whole: its files are, every message is there, and no recovery lost anything."""
        return self.is_whole and not self.lost and (self.recovery is None or not self.recovery.damage)

    @property
    def recovery(self) -> Recovery | None:
        """What `recover` said of the session that this one was recovered from; None if it is as it was recorded.

        Raises
        ------
        RecordingError
            It is there and cannot be read.
        """
        return read_recovery(self.folder)

    def messages(self, *topics: str) -> Iterator[JournalMessage]:
        """All messages in the order of writing.

        With `topics`, frames that nobody asked for are passed over unread: damage in them, and what is lost, show
        only in a pass over everything.

        Parameters
        ----------
        *topics : str
            Whole topics (``spikes.1``) or their first words (``spikes``); without, everything.

        Yields
        ------
        JournalMessage

        Raises
        ------
        RecordingError
            There is no such topic on the wire, or a file cannot be opened.
        """
        chosen = set(topics)
        if unknown := sorted(topic for topic in chosen if topic_name(topic) not in HEADERS):
            raise RecordingError(f"there is no topic {unknown[0]!r}", f"topics are {', '.join(sorted(HEADERS))}")

        def wanted(topic: str) -> bool:
            return topic in chosen or topic.partition(".")[0] in chosen

        expected: dict[str, int] = {}
        lost: dict[str, int] = {}
        damage: list[Damage] = []
        from_start = self.files[0].name == FIRST_FILE
        clocks = self._clocks()
        for path in self.files:
            walk = McapWalk(path, wanted if chosen else None)
            for raw in walk.messages():
                _count_missing(raw, expected, lost, from_start)
                if chosen and not wanted(raw.topic):
                    continue
                message = _split(raw, clocks)
                if message is None:
                    damage.append(Damage(path.name, 0, 0, f"a message of {raw.topic} is shorter than its header"))
                else:
                    yield message
            damage += walk.damage
        if not chosen:
            self._damage, self._lost = damage, lost

    def _clocks(self) -> JournalClocks | None:
        """How the clocks stood to each other, where services lived on several computers."""
        try:
            ports = ports_of(self.config())
        except ConfigError:  # said by whoever asks for the config; the messages are readable without
            return None
        if ports is None:
            return None
        told = []
        for path in self.files:
            for raw in McapWalk(path, lambda topic: topic == "clock").messages():
                message = _split(raw) if raw.topic == "clock" else None
                if message is not None and isinstance(message.header, ClockHeader):
                    told.append((message.t_log_ns, message.header))
        return JournalClocks(ports, told)

    def events(self, plane: int = 0) -> NDArray[np.void]:
        """Events decided live; see `session_arrays.events`.

        Raises
        ------
        RecordingError
            The session has no such plane, though it has others.
        """
        from rt_engine.recording.session_arrays import events

        found = events(self, plane)
        if not len(found):
            self._require("spikes", plane)
        return found

    def activity(
        self, field: str = "dff", plane: int = 0, *, first_frame: int = 0, last_frame: int | None = None
    ) -> Activity:
        """Traces of one field; see `session_arrays.activity`.

        Raises
        ------
        RecordingError
            The session has no such plane, though it has others, or no such field.
        """
        from rt_engine.recording.session_arrays import activity, fields_of

        there = fields_of(self, plane)
        if not there:
            self._require("activity", plane)
        elif field not in there:
            raise RecordingError(f"{self.folder}: has no field {field!r}", f"there are {', '.join(there)}")
        return activity(self, field, plane, first_frame=first_frame, last_frame=last_frame)

    def _require(self, topic: str, plane: int) -> None:
        """Refuse a plane of which there is nothing while there is something of others: it is a slip of the pen."""
        there = sorted({int(one.split(".")[1]) for one in self._topics_under(topic)})
        if there and plane not in there:
            raise RecordingError(
                f"{self.folder}: has no plane {plane} on topic {topic}", f"there are {', '.join(map(str, there))}"
            )

    def _topics_under(self, topic: str) -> set[str]:
        """Those of planes, and of their channels."""
        return {one.topic for one in self.messages(topic) if one.topic.count(".")}

    def table(self, *topics: str) -> pandas.DataFrame:
        """Headers of some topics as a pandas frame; see `session_arrays.table`.

        Raises
        ------
        RecordingError
            There is no such topic.
        """
        from rt_engine.recording.session_arrays import table

        return table(self, *topics)

    def frames(
        self, plane: int | Sequence[int] = 0, channel: int | Sequence[int] = 0
    ) -> Iterator[tuple[FrameHeader, NDArray[Any]]]:
        """Frames, or strips of them, of one plane and channel or several, in the order of writing.

        Yields
        ------
        header : FrameHeader
        lines : uint16 or int16 ndarray, shape (n_lines, pixels_per_line), counts
            Read-only view.

        Raises
        ------
        RecordingError
            At the end: there was none, though the session holds frames of others.
        """
        self.malformed_frames = 0
        planes = (plane,) if isinstance(plane, int) else plane
        channels = (channel,) if isinstance(channel, int) else channel
        topics = [f"frame.{one}.{c}" for one in planes for c in channels]
        came = False
        for message in self.messages(*topics):
            came = True
            try:
                header = decode_as(FrameHeader, message.topic, message.header_bytes)
            except MessageError:
                self.malformed_frames += 1
                continue
            dtype = _FRAME_DTYPES.get(header.dtype)
            shape = (header.n_lines, header.pixels_per_line)
            if dtype is None or min(shape) < 1 or len(message.payload) != shape[0] * shape[1] * dtype.itemsize:
                self.malformed_frames += 1
                continue
            yield header, np.frombuffer(message.payload, dtype).reshape(shape)
        there = () if came else sorted(self._topics_under("frame"))
        if there:
            raise RecordingError(f"{self.folder}: has no {' or '.join(topics)}", f"there are {', '.join(there)}")


def open_session(path: Path | str) -> Session:
    """Open a session folder, or one journal file.

    Raises
    ------
    RecordingError
        There is no journal, or it was written in a wire version that this program does not read.
    """
    path = Path(path)
    if path.is_file():
        return _readable(Session(path.parent, [path]))
    files = sorted(path.glob("session_*.mcap"), key=lambda file: (len(file.name), file.name))
    if not files:
        raise RecordingError(f"{path}: holds no {FIRST_FILE}", "give the folder that `run` or `demo` has written")
    return _readable(Session(path, files))


class _Versioned(msgspec.Struct):
    """What a header of any version has."""

    v: int


def _readable(session: Session) -> Session:
    """The session, unless its first message says that the others cannot be understood."""
    first = next(iter(session.messages()), None)
    try:
        version = WIRE_VERSION if first is None else msgspec.msgpack.decode(first.header_bytes, type=_Versioned).v
    except msgspec.DecodeError:
        return session  # damaged, which is told where it is read
    if version != WIRE_VERSION:
        raise RecordingError(
            f"{session.files[0]}: written in wire version {version}, this program reads {WIRE_VERSION}",
            "use the version of spikeloop that wrote it: config.yaml, key versions",
        )
    return session


def no_whole_message(session: Session) -> RecordingError:
    """The one answer of every command to a journal of which nothing can be read."""
    damage = "; ".join(map(str, session.damage))
    where = session.files[0] if len(session.files) == 1 else session.folder
    return RecordingError(f"{where}: no whole message is left: {damage}", "look for another copy of the session")


def read_config(session: Session) -> dict[str, Any]:
    """Config of the session, empty where it cannot be read: a report is written all the same."""
    try:
        return session.config()
    except ConfigError:
        return {}


def _count_missing(raw: RawMessage, expected: dict[str, int], lost: dict[str, int], from_start: bool) -> None:
    gap = (raw.sequence - expected.get(raw.topic, 0 if from_start else raw.sequence)) % _SEQUENCE_RANGE
    if 0 < gap < _SEQUENCE_RANGE // 2:
        lost[raw.topic] = lost.get(raw.topic, 0) + gap
    expected[raw.topic] = raw.sequence + 1


def _split(raw: RawMessage, clocks: JournalClocks | None = None) -> JournalMessage | None:
    data = raw.data
    if len(data) < HEADER_LENGTH.size:
        return None
    (length,) = HEADER_LENGTH.unpack_from(data)
    end = HEADER_LENGTH.size + length
    if end > len(data):
        return None
    return JournalMessage(raw.topic, data[HEADER_LENGTH.size : end], data[end:], raw.t_log_ns, clocks, raw.sequence)
