"""The whole records of one MCAP file, however it ended: nothing is invented, and what is lost is told.

The readers of the `mcap` package stop, or worse go astray, at the first damaged byte. A chunk is the unit here: it
counts if its frame is whole and its CRC holds; after damage the walk goes on at the next chunk for which both hold.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Metadata

from rt_engine.interfaces.errors import RecordingError
from rt_engine.recording.journal import CHANNEL_RECORD, channel_check
from rt_engine.recording.mcap_file import MAGIC

_PREFIX = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQII")
_MESSAGE = struct.Struct("<HIQQ")
_CHANNEL = struct.Struct("<HHI")
_INDEX_HEAD = struct.Struct("<HI")
_LONGEST_CHUNK = 1 << 31
_LONGEST_RECORD: dict[int, int] = {
    Opcode.HEADER: 1 << 16,
    Opcode.METADATA: 1 << 20,
    Opcode.MESSAGE_INDEX: 1 << 28,
    Opcode.CHUNK: _LONGEST_CHUNK,
}
"""What the journal writes before its end record, with the greatest length in bytes."""
_DATA_END_BYTES = 4
_FOOTER_BYTES = 29
_SEARCH_BYTES = 1 << 20
_CHUNK_OVERHEAD = _CHUNK.size + 8
_CHUNK_START = re.compile(rb"\x06(?=.{4}\x00{4}.{28}\x00{4})", re.DOTALL)
"""Opcode of a chunk whose length fits four bytes and which is not compressed."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a file that hold no readable message.

    Attributes
    ----------
    file : str
        Name of the file.
    offset, n_bytes : int
        Where, and how many bytes.
    reason : str
        What is wrong.
    unfinished : bool
        The file merely has no end yet: it is still being written, or its writer was killed between two chunks.
    """

    file: str
    offset: int
    n_bytes: int
    reason: str
    unfinished: bool = False

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}" + (f" ({self.n_bytes} bytes at {self.offset})" if self.n_bytes else "")


class RawMessage(NamedTuple):
    """One journalled message: topic, number within its topic, log time, and its data (read-only)."""

    topic: str
    sequence: int
    t_log_ns: int
    data: memoryview


class _Torn(Exception):
    """No whole record stands here; the argument says why."""


class McapWalk:
    """Walk over one file; iterate `messages`, then read `damage`.

    Parameters
    ----------
    path : Path
        The file; its size is taken when the walk begins, so a file that grows is read up to there.
    wanted : callable, optional
        Whether messages of a topic are asked for. A chunk that holds nothing but one message of another topic is
        passed over unread, and unchecked.
    """

    def __init__(self, path: Path, wanted: Callable[[str], bool] | None = None) -> None:
        self._path = path
        self._wanted = wanted
        self.damage: list[Damage] = []

    def messages(self) -> Iterator[RawMessage]:
        """Every message of every whole chunk, in the order of the file.

        Raises
        ------
        RecordingError
            The file cannot be opened or read.
        """
        self.damage = []
        self._channels: dict[int, str] = {}
        try:
            with open(self._path, "rb") as file:
                yield from self._walk(file, file.seek(0, io.SEEK_END))
        except OSError as error:
            raise RecordingError(f"{self._path}: cannot be read: {error.strerror}") from error

    def _walk(self, file: BinaryIO, size: int) -> Iterator[RawMessage]:
        position = 0
        file.seek(0)
        if file.read(len(MAGIC)) == MAGIC:
            position = len(MAGIC)
        else:
            position = self._skip(file, 0, size, "does not begin as MCAP")
        while position < size:
            messages: list[RawMessage] = []
            try:
                opcode, length = self._prefix(file, position, size)
                if opcode == Opcode.DATA_END:
                    _require_end(file, length, size)
                    return
                if length > _LONGEST_RECORD[opcode]:
                    raise _Torn("damaged record")
                if opcode == Opcode.CHUNK and self._wanted is not None and self._unwanted(file, length, self._wanted):
                    position += _PREFIX.size + length
                    continue
                file.seek(position + _PREFIX.size)
                content = file.read(length)
                if opcode == Opcode.CHUNK:
                    messages = self._chunk(content)
                elif opcode == Opcode.METADATA:
                    self._learn_channel(content)
                elif opcode == Opcode.MESSAGE_INDEX:
                    _require_message_index(content)
            except _Torn as torn:
                position = self._skip(file, position, size, str(torn))
                continue
            position += _PREFIX.size + length
            yield from messages
        if not any(damage.n_bytes and damage.offset + damage.n_bytes == size for damage in self.damage):
            self._add(size, 0, "has no end: it is still being written, or its writer was killed", unfinished=True)

    def _unwanted(self, file: BinaryIO, length: int, wanted: Callable[[str], bool]) -> bool:
        """True if the chunk at hand is one message of a topic that nobody asked for."""
        head = file.read(_CHUNK_OVERHEAD + _PREFIX.size + _MESSAGE.size)
        if len(head) < _CHUNK_OVERHEAD + _PREFIX.size + _MESSAGE.size:
            return False
        opcode, message_length = _PREFIX.unpack_from(head, _CHUNK_OVERHEAD)
        if opcode != Opcode.MESSAGE or _CHUNK_OVERHEAD + _PREFIX.size + message_length != length:
            return False
        topic = self._channels.get(_MESSAGE.unpack_from(head, _CHUNK_OVERHEAD + _PREFIX.size)[0])
        return topic is not None and not wanted(topic)

    def _prefix(self, file: BinaryIO, position: int, size: int) -> tuple[int, int]:
        file.seek(position)
        prefix = file.read(_PREFIX.size)
        if len(prefix) < _PREFIX.size:
            raise _Torn("ends within a record")
        opcode, length = _PREFIX.unpack(prefix)
        if opcode != Opcode.DATA_END and opcode not in _LONGEST_RECORD:
            raise _Torn("damaged record")
        if position + _PREFIX.size + length > size:
            raise _Torn("ends within a record, or its length is damaged")
        return opcode, length

    def _chunk(self, content: bytes) -> list[RawMessage]:
        data = _checked_chunk_data(content)
        messages: list[RawMessage] = []
        position = 0
        while position < len(data):
            if position + _PREFIX.size > len(data):
                raise _Torn("chunk ends within a record")
            opcode, length = _PREFIX.unpack_from(data, position)
            position += _PREFIX.size
            record = data[position : position + length]
            if len(record) != length:
                raise _Torn("chunk ends within a record")
            position += length
            if opcode == Opcode.MESSAGE:
                messages.append(self._message(record))
            elif opcode == Opcode.CHANNEL:
                self._channel(record)
        return messages

    def _message(self, record: memoryview) -> RawMessage:
        if len(record) < _MESSAGE.size:
            raise _Torn("chunk with a torn message")
        channel, sequence, t_log_ns, _ = _MESSAGE.unpack_from(record)
        topic = self._channels.get(channel)
        if topic is None:
            raise _Torn("chunk of a channel whose name is lost")
        return RawMessage(topic, sequence, t_log_ns, record[_MESSAGE.size :])

    def _channel(self, record: memoryview) -> None:
        if len(record) < _CHANNEL.size:
            raise _Torn("chunk with a torn channel")
        channel, _, length = _CHANNEL.unpack_from(record)
        name = bytes(record[_CHANNEL.size : _CHANNEL.size + length])
        try:
            self._channels[channel] = name.decode()
        except UnicodeDecodeError as error:
            raise _Torn("chunk with a torn channel") from error

    def _learn_channel(self, content: bytes) -> None:
        try:
            record = Metadata.read(ReadDataStream(io.BytesIO(content)))
        except (struct.error, UnicodeDecodeError, McapError) as error:
            raise _Torn("damaged metadata") from error
        if record.name != CHANNEL_RECORD:
            raise _Torn("damaged metadata")
        number, topic = record.metadata.get("id", ""), record.metadata.get("topic", "")
        if number.isdecimal() and record.metadata.get("check") == channel_check(number, topic):
            self._channels.setdefault(int(number), topic)

    def _skip(self, file: BinaryIO, position: int, size: int, reason: str) -> int:
        found = _next_whole_chunk(file, position + 1, size)
        self._add(position, found - position, reason)
        return found

    def _add(self, offset: int, n_bytes: int, reason: str, *, unfinished: bool = False) -> None:
        self.damage.append(Damage(self._path.name, offset, n_bytes, reason, unfinished))


def _require_end(file: BinaryIO, length: int, size: int) -> None:
    """Refuse an end record that the summary, the footer and the end of the file do not follow."""
    if length != _DATA_END_BYTES:
        raise _Torn("damaged record")
    file.seek(max(size - _FOOTER_BYTES - len(MAGIC), 0))
    tail = file.read()
    if tail[0] != Opcode.FOOTER or not tail.endswith(MAGIC):
        raise _Torn("summary is torn; no message stands in it")


def _require_message_index(content: bytes) -> None:
    if len(content) < _INDEX_HEAD.size or len(content) != _INDEX_HEAD.size + _INDEX_HEAD.unpack_from(content)[1]:
        raise _Torn("damaged message index")


def _checked_chunk_data(content: bytes) -> memoryview:
    """Records of an uncompressed chunk whose CRC holds."""
    if len(content) < _CHUNK_OVERHEAD:
        raise _Torn("damaged chunk")
    _, _, size, crc, compression_length = _CHUNK.unpack_from(content)
    if compression_length:
        raise _Torn("chunk damaged, or compressed by another program")
    data = memoryview(content)[_CHUNK_OVERHEAD:]
    (data_length,) = struct.unpack_from("<Q", content, _CHUNK.size)
    if not size == data_length == len(data):
        raise _Torn("damaged chunk")
    if zlib.crc32(data) != crc:
        raise _Torn("chunk whose checksum fails")
    return data


def _next_whole_chunk(file: BinaryIO, start: int, size: int) -> int:
    """Offset of the first whole chunk at or after `start`, or `size`."""
    overlap = _PREFIX.size + _CHUNK_OVERHEAD
    while start + overlap <= size:
        file.seek(start)
        window = file.read(_SEARCH_BYTES + overlap)
        for candidate in _CHUNK_START.finditer(window):
            at = candidate.start()
            if at >= _SEARCH_BYTES or at + overlap > len(window):
                break
            if _looks_like_chunk(window, at) and _is_chunk(file, start + at, size):
                return start + at
        start += _SEARCH_BYTES
    return size


def _looks_like_chunk(window: bytes, at: int) -> bool:
    (length,) = struct.unpack_from("<Q", window, at + 1)
    _, _, data_size, _, compression_length = _CHUNK.unpack_from(window, at + _PREFIX.size)
    return bool(compression_length == 0 and length == data_size + _CHUNK_OVERHEAD and length < _LONGEST_CHUNK)


def _is_chunk(file: BinaryIO, position: int, size: int) -> bool:
    file.seek(position + 1)
    (length,) = struct.unpack("<Q", file.read(8))
    if position + _PREFIX.size + length > size:
        return False
    try:
        _checked_chunk_data(file.read(length))
    except _Torn:
        return False
    return True
