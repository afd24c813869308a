"""Lines and notes in an NWB file; samples are streamed from the journal, however long the session was."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hdmf.data_utils import AbstractDataChunkIterator, DataChunk
from numpy.typing import NDArray
from pynwb import H5DataIO, NWBFile, TimeSeries
from pynwb.base import ProcessingModule
from pynwb.misc import AnnotationSeries

from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.messages import LogHeader, SyncHeader
from rt_engine.recording.nwb_time import SessionTime
from rt_engine.recording.reader import JournalMessage, Session
from rt_engine.recording.session_arrays import headers

_EXACT_NS = 1000
"""Samples that lie this close to one rate are stored with it; otherwise each has a time of its own."""
_CHUNK_SAMPLES = 1 << 16


@dataclass(frozen=True, slots=True)
class Block:
    """Samples in a row of one line: time of the first, rate, values (read-only)."""

    t_first_ns: int
    rate_hz: float
    values: NDArray[Any]


@dataclass(slots=True)
class LineFacts:
    """What a first pass over the journal tells about the samples of a line.

    Attributes
    ----------
    dtype : dtype
        That holds the samples of every block.
    n : int
        Samples.
    t_first_ns, t_last_block_ns : int
        Time of the first sample of the first and of the last block.
    n_before_last : int
        Samples before the last block.
    rate_hz : float
        Of the first block.
    one_rate : bool
        Every block says the same rate.
    """

    dtype: np.dtype[Any]
    t_first_ns: int
    rate_hz: float
    one_rate: bool = True
    n: int = 0
    t_last_block_ns: int = 0
    n_before_last: int = 0

    def add(self, block: Block) -> None:
        """Take in the next block."""
        self.dtype = np.result_type(self.dtype, block.values.dtype)
        self.one_rate &= block.rate_hz == self.rate_hz
        self.t_last_block_ns, self.n_before_last = block.t_first_ns, self.n
        self.n += len(block.values)

    @property
    def rates_hz(self) -> tuple[float, ...]:
        """The rate as it is told, and as it was by the clock of this computer."""
        lasted_ns = self.t_last_block_ns - self.t_first_ns
        if lasted_ns <= 0:
            return (self.rate_hz,)
        return self.rate_hz, self.n_before_last * NS_PER_S / lasted_ns


@dataclass(slots=True)
class _Found:
    edge_t_s: dict[str, array[float]] = field(default_factory=dict)
    edge_level: dict[str, array[int]] = field(default_factory=dict)
    lines: dict[str, LineFacts] = field(default_factory=dict)
    notes: list[tuple[float, str]] = field(default_factory=list)


def add_behaviour(
    nwb: NWBFile, session: Session, time: SessionTime, progress: Callable[[str, float], None]
) -> ProcessingModule | None:
    """Edges and samples of the lines of the rig, and the notes that people made."""
    found = _look(session, time)
    if not (found.edge_t_s or found.lines or found.notes):
        return None
    module = nwb.create_processing_module("behavior", "Behaviour and synchronisation lines, and notes.")
    for line, t_s in found.edge_t_s.items():
        module.add(
            TimeSeries(
                name=f"{line}_edges", unit="n.a.", data=np.array(found.edge_level[line], np.int8),
                timestamps=np.array(t_s), description=f"Line {line}: 1 rising, 0 falling edge.",
            )
        )  # fmt: skip
    for line, facts in found.lines.items():
        module.add(
            TimeSeries(
                name=f"{line}_samples", unit="volts", description=f"Line {line} as sampled.",
                data=H5DataIO(_Samples(session, line, facts, progress)),
                **_sample_times(session, line, facts, time, progress),
            )
        )  # fmt: skip
    if found.notes:
        module.add(
            AnnotationSeries(
                name="marks", data=[text for _, text in found.notes], timestamps=np.array([t for t, _ in found.notes]),
                description="Notes made while the session ran, and marks of the protocol.",
            )
        )  # fmt: skip
    return module


def _look(session: Session, time: SessionTime) -> _Found:
    """A first pass: edges and notes are few and kept, of samples only what the file must know before it has them."""
    found = _Found()
    for message, header in headers(session, "sync", "log"):
        if isinstance(header, LogHeader) and header.level == "mark":
            found.notes.append((time.seconds(header.t_sent_ns), header.text))
        elif isinstance(header, SyncHeader) and header.t_edge_ns is not None and header.kind == "edge":
            found.edge_t_s.setdefault(header.line, array("d")).append(time.seconds(header.t_edge_ns))
            found.edge_level.setdefault(header.line, array("b")).append(int(header.edge == "rising"))
        elif isinstance(header, SyncHeader) and (block := _block(message, header)) is not None:
            facts = found.lines.get(header.line)
            if facts is None:
                facts = found.lines[header.line] = LineFacts(block.values.dtype, block.t_first_ns, block.rate_hz)
            facts.add(block)
    return found


def _block(message: JournalMessage, header: SyncHeader) -> Block | None:
    """None where the message holds no samples, or is not what its header says."""
    if header.t_first_ns is None or not header.sample_rate_hz or header.sample_rate_hz < 0:
        return None
    try:
        values = np.frombuffer(message.payload, np.dtype("<" + (header.dtype or "f4")))
    except (TypeError, ValueError):
        return None
    return Block(header.t_first_ns, header.sample_rate_hz, values) if len(values) else None


def _blocks(session: Session, line: str) -> Iterator[Block]:
    for message, header in headers(session, "sync"):
        if isinstance(header, SyncHeader) and header.line == line and (block := _block(message, header)) is not None:
            yield block


def _sample_times(
    session: Session, line: str, facts: LineFacts, time: SessionTime, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """Start and rate where every block lies where one rate puts it, else a time for every sample."""
    if facts.one_rate:
        for rate_hz in facts.rates_hz:
            if _is_regular(session, line, facts, rate_hz):
                return {"starting_time": time.seconds(facts.t_first_ns), "rate": rate_hz}
    return {"timestamps": H5DataIO(_SampleTimes(session, line, facts, time, progress))}


def _is_regular(session: Session, line: str, facts: LineFacts, rate_hz: float) -> bool:
    """A gap, or a clock that drifts against that rate, makes it irregular."""
    n = 0
    for block in _blocks(session, line):
        if abs(block.t_first_ns - facts.t_first_ns - n * NS_PER_S / rate_hz) > _EXACT_NS:
            return False
        n += len(block.values)
    return True


class _Samples(AbstractDataChunkIterator):  # type: ignore[misc]
    """Samples of a line for the writer of the file, a piece at a time."""

    def __init__(self, session: Session, line: str, facts: LineFacts, progress: Callable[[str, float], None]) -> None:
        self._n, self._dtype = facts.n, facts.dtype
        self._stage, self._progress = f"samples of {line}", progress
        self._pieces = self._gather(session, line)

    def _of(self, block: Block) -> NDArray[Any]:
        return block.values

    def _gather(self, session: Session, line: str) -> Iterator[DataChunk]:
        waiting: list[NDArray[Any]] = []
        n_waiting = n_told = 0
        for block in _blocks(session, line):
            values = self._of(block)[: self._n - n_told - n_waiting]  # a session that runs has grown meanwhile
            waiting.append(values)
            n_waiting += len(values)
            if n_waiting >= _CHUNK_SAMPLES:
                yield self._chunk(waiting, n_told)
                n_told, n_waiting = n_told + n_waiting, 0
                waiting.clear()
        if n_waiting:
            yield self._chunk(waiting, n_told)

    def _chunk(self, waiting: list[NDArray[Any]], first: int) -> DataChunk:
        data = np.concatenate(waiting).astype(self._dtype, copy=False)
        self._progress(self._stage, (first + len(data)) / self._n)
        return DataChunk(data=data, selection=slice(first, first + len(data)))

    def __iter__(self) -> _Samples:
        return self

    def __next__(self) -> DataChunk:
        return next(self._pieces)

    def recommended_chunk_shape(self) -> tuple[int, ...]:
        """Samples of a chunk of the file."""
        return (min(self._n, _CHUNK_SAMPLES),)

    def recommended_data_shape(self) -> tuple[int, ...]:
        """All of them: their number is known."""
        return (self._n,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As they are stored."""
        return self._dtype

    @property
    def maxshape(self) -> tuple[int, ...]:
        """All of them."""
        return (self._n,)


class _SampleTimes(_Samples):
    """A time for every sample, seconds."""

    def __init__(
        self,
        session: Session,
        line: str,
        facts: LineFacts,
        time: SessionTime,
        progress: Callable[[str, float], None],
    ) -> None:
        super().__init__(session, line, facts, progress)
        self._dtype, self._time = np.dtype("<f8"), time

    def _of(self, block: Block) -> NDArray[Any]:
        return self._time.seconds(block.t_first_ns) + np.arange(len(block.values)) / block.rate_hz
