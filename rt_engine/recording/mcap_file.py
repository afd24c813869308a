"""One MCAP file as the journal writes it: large messages are not copied, and its index does not grow in memory.

The writer of the `mcap` package keeps an index entry of about 1 kB for every chunk until the file ends, and copies each
message five times on its way. The records of the beginning and of the end are that package's here as well.
"""

from __future__ import annotations

import contextlib
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Metadata,
    MetadataIndex,
    Statistics,
    SummaryOffset,
)

MAGIC = b"\x89MCAP0\r\n"
_CHUNK_BYTES = 1 << 16
"""A chunk of this size is ended; a message of this size is a chunk of its own, which readers of events pass over."""
_SPOOL_BYTES = 1 << 16
"""Written and read back in pieces of this size: glibc keeps for good what a larger one takes from the heap."""
_PREFIX = struct.Struct("<BQ")
_CHUNK = struct.Struct("<BQQQQIIQ")
_MESSAGE = struct.Struct("<BQHIQQ")
_MESSAGE_INDEX = struct.Struct("<BQHI")
_CHUNK_INDEX_HEAD = struct.Struct("<BQQQQQI")
_CHUNK_INDEX_TAIL = struct.Struct("<QIQQ")
_PAIR = struct.Struct("<QQ")
_OFFSET = struct.Struct("<HQ")
_FOOTER_FIELDS = struct.Struct("<BQQQ")


class JournalFile(Protocol):
    """The part of an unbuffered binary file that the journal uses."""

    def write(self, data: bytes | memoryview, /) -> int | None:
        """Write some of `data`; how many bytes."""
        ...

    def truncate(self, size: int | None = None, /) -> int:
        """Cut the file to `size` bytes."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class McapFile:
    """Writes one file, chunked and uncompressed, with message and chunk indexes and a checksum for each chunk.

    Parameters
    ----------
    file : JournalFile
        Empty. What is written ends with a record's end, or is cut off again.
    folder : Path
        Where the chunk index waits for the end of the file, in a file without a name.
    profile, library : str
        Of the MCAP header.

    Raises
    ------
    OSError
        The disk refused; so does every method that writes. Then `abandon` is all that may be called.
    """

    def __init__(self, file: JournalFile, folder: Path, profile: str, library: str) -> None:
        self._file = file
        self._position = 0
        self._channels: list[Channel] = []
        self._metadata: list[MetadataIndex] = []
        self._counts: dict[int, int] = {}
        self._n_chunks = 0
        self._first_ns: int | None = None
        self._last_ns = 0
        self._records = bytearray()
        self._index: dict[int, bytearray] = {}
        self._chunk_first_ns = self._chunk_last_ns = 0
        self._write(MAGIC + _bytes_of(Header(profile, library)))
        self._spool = _Spool(folder)

    @property
    def position(self) -> int:
        """Bytes that have reached the operating system."""
        return self._position

    def add_channel(self, topic: str, encoding: str) -> int:
        """Make a channel without a schema; it stands in the chunk of its first message, and in the summary."""
        number = len(self._channels) + 1
        channel = Channel(id=number, topic=topic, message_encoding=encoding, schema_id=0, metadata={})
        self._channels.append(channel)
        self._records += _bytes_of(channel)
        return number

    def add_metadata(self, name: str, content: dict[str, str]) -> None:
        """Write a metadata record, between chunks."""
        record = _bytes_of(Metadata(name=name, metadata=content))
        self._metadata.append(MetadataIndex(offset=self._position, length=len(record), name=name))
        self._write(record)

    def add_message(self, channel: int, t_log_ns: int, sequence: int, head: bytes, payload: bytes | memoryview) -> None:
        """Append a message whose data is `head` and then `payload`, which is read before this returns."""
        n_payload = payload.nbytes if isinstance(payload, memoryview) else len(payload)
        is_large = n_payload >= _CHUNK_BYTES
        if is_large:
            self.flush()
        length = _MESSAGE.size - _PREFIX.size + len(head) + n_payload
        self._note(channel, t_log_ns)
        self._records += _MESSAGE.pack(Opcode.MESSAGE, length, channel, sequence, t_log_ns, t_log_ns)
        self._records += head
        if is_large:
            self._end_chunk(payload, n_payload)
        else:
            self._records += payload
            if len(self._records) > _CHUNK_BYTES:
                self._end_chunk()

    def flush(self) -> None:
        """Hand all messages to the operating system."""
        if self._index:
            self._end_chunk()

    def finish(self) -> None:
        """Write the index and the end of the file, and close it."""
        self.flush()
        self._write(_bytes_of(DataEnd(0)))
        start = self._position
        offsets: list[SummaryOffset] = []
        crc = 0
        for opcode, pieces in self._summary():
            group_start = self._position
            for piece in pieces:
                crc = zlib.crc32(piece, crc)
                self._write(piece)
            if self._position > group_start:
                length = self._position - group_start
                offsets.append(SummaryOffset(group_opcode=opcode, group_start=group_start, group_length=length))
        offset_start = self._position
        last = b"".join(map(_bytes_of, offsets))
        crc = zlib.crc32(last, crc)
        crc = zlib.crc32(_FOOTER_FIELDS.pack(Opcode.FOOTER, 20, start, offset_start), crc)
        footer = Footer(summary_start=start, summary_offset_start=offset_start, summary_crc=crc)
        self._write(last + _bytes_of(footer) + MAGIC)
        self._spool.close()
        self._file.close()

    def abandon(self) -> None:
        """Close the file as it is, without an end; never raises."""
        self._spool.close()
        with contextlib.suppress(OSError):  # the descriptor is gone either way
            self._file.close()

    def _note(self, channel: int, t_log_ns: int) -> None:
        """Before a message is put at the end of the records: where it stands, and when it was."""
        if not self._index:
            self._chunk_first_ns = self._chunk_last_ns = t_log_ns
        self._chunk_first_ns = min(self._chunk_first_ns, t_log_ns)
        self._chunk_last_ns = max(self._chunk_last_ns, t_log_ns)
        self._index.setdefault(channel, bytearray()).extend(_PAIR.pack(t_log_ns, len(self._records)))
        self._counts[channel] = self._counts.get(channel, 0) + 1

    def _end_chunk(self, payload: bytes | memoryview = b"", n_payload: int = 0) -> None:
        size = len(self._records) + n_payload
        crc = zlib.crc32(payload, zlib.crc32(self._records))
        times = self._chunk_first_ns, self._chunk_last_ns
        head = _CHUNK.pack(Opcode.CHUNK, _CHUNK.size - _PREFIX.size + size, *times, size, crc, 0, size)
        at = self._position
        index, offsets = self._message_index(at + len(head) + size)
        if n_payload:
            self._write(head + self._records, payload, index)
        else:
            self._write(head + self._records + index)
        self._spool.add(
            _CHUNK_INDEX_HEAD.pack(
                Opcode.CHUNK_INDEX,
                _CHUNK_INDEX_HEAD.size - _PREFIX.size + len(offsets) + _CHUNK_INDEX_TAIL.size,
                *times, at, len(head) + size, len(offsets),
            )
            + offsets
            + _CHUNK_INDEX_TAIL.pack(len(index), 0, size, size)
        )  # fmt: skip
        self._n_chunks += 1
        self._first_ns = times[0] if self._first_ns is None else min(self._first_ns, times[0])
        self._last_ns = max(self._last_ns, times[1])
        self._records = bytearray()
        self._index.clear()

    def _message_index(self, start: int) -> tuple[bytes, bytes]:
        """The message indexes of the chunk, and where each stands in the file if the first begins at `start`."""
        records, offsets = bytearray(), bytearray()
        for channel, pairs in self._index.items():
            offsets += _OFFSET.pack(channel, start + len(records))
            length = _MESSAGE_INDEX.size - _PREFIX.size + len(pairs)
            records += _MESSAGE_INDEX.pack(Opcode.MESSAGE_INDEX, length, channel, len(pairs)) + pairs
        return bytes(records), bytes(offsets)

    def _summary(self) -> Iterator[tuple[Opcode, Iterator[bytes]]]:
        statistics = Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=self._counts,
            chunk_count=self._n_chunks,
            message_count=sum(self._counts.values()),
            metadata_count=len(self._metadata),
            message_start_time=self._first_ns or 0,
            message_end_time=self._last_ns,
            schema_count=0,
        )
        yield Opcode.CHANNEL, map(_bytes_of, self._channels)
        yield Opcode.STATISTICS, iter((_bytes_of(statistics),))
        yield Opcode.CHUNK_INDEX, self._spool.pieces()
        yield Opcode.METADATA_INDEX, map(_bytes_of, self._metadata)

    def _write(self, *parts: bytes | memoryview) -> None:
        """All of the parts, or none: what a full disk took of them is cut off again."""
        try:
            for part in parts:
                rest = memoryview(part).cast("B")
                while rest:
                    rest = rest[self._file.write(rest) or 0 :]
        except OSError:
            with contextlib.suppress(OSError):  # the reader finds the last whole record itself
                self._file.truncate(self._position)
            raise
        self._position += sum(memoryview(part).nbytes for part in parts)


class _Spool:
    """Bytes that wait on the disk until the file ends; the file they wait in has no name, and dies with the process."""

    def __init__(self, folder: Path) -> None:
        self._waiting = bytearray()
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - outlives this call

    def add(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) < _SPOOL_BYTES:
            return
        rest = memoryview(self._waiting)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]
        rest.release()
        self._waiting = bytearray()

    def pieces(self) -> Iterator[bytes]:
        """All of it, in order."""
        self._file.seek(0)
        while piece := self._file.read(_SPOOL_BYTES):
            yield piece
        yield bytes(self._waiting)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


def _bytes_of(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return bytes(builder.end())  # type: ignore[no-untyped-call]  # it carries no annotation
