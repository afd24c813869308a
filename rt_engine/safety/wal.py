"""Write-ahead log of stimulation: what is about to be lit is on the disk's side of the process before it is lit.

The file is a row of 512-byte slots, written with zeros ahead of use. A record takes one slot or several in a row; each
slot is ``magic, CRC-32 of the rest, sequence, kind, part, parts, length`` and 488 bytes of a MessagePack map. Both
ends of the format stand in this file.
"""

from __future__ import annotations

import os
import struct
import zlib
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rt_engine.interfaces.errors import RecordingError

SLOT_BYTES = 512
BLOCK_SLOTS = 2048
_HEAD = struct.Struct("<4sIQHHHH")
_MAGIC = b"SLW1"
_ROOM = SLOT_BYTES - _HEAD.size
_CRC_FROM = 8
_EMPTY_BLOCK = bytes(BLOCK_SLOTS * SLOT_BYTES)
"""Kept, for the allocator would keep the memory of one made anew: the process seemed to grow by it."""


class RecordKind(IntEnum):
    """What a record tells."""

    INTENT = 1
    DONE = 2
    TRIP = 3
    STATE = 4


class WalRecord(NamedTuple):
    """One whole record."""

    seq: int
    kind: RecordKind
    fields: dict[str, Any]


class WalContent(NamedTuple):
    """All whole records of a file in order, and how many slots held something that is not whole."""

    records: list[WalRecord]
    torn: int


class WriteAheadLog:
    """Appends records; each is handed to the operating system before `write` returns.

    Parameters
    ----------
    path : Path
        New file, e.g. ``stim_000.wal``; an existing one is refused, a restarted service takes the next number.

    Raises
    ------
    RecordingError
        The file exists or cannot be made, or the disk is full.

    Notes
    -----
    A killed process loses nothing that was written; a power cut loses what came after the last `sync`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next_slot = 0
        self._reserved = 0
        self._encoder = msgspec.msgpack.Encoder()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            self._fd: int | None = os.open(path, flags, 0o644)
        except OSError as error:
            raise RecordingError(f"{path} cannot be made: {error.strerror}") from error
        self.reserve()

    def reserve(self) -> None:
        """Write zeros ahead if less than half a block is left; about a millisecond, for idle moments.

        Raises
        ------
        RecordingError
            The disk is full or gone.
        """
        if self._reserved - self._next_slot < BLOCK_SLOTS // 2:
            self._put(self._reserved, _EMPTY_BLOCK)
            self._reserved += BLOCK_SLOTS

    def write(self, kind: RecordKind, fields: dict[str, Any]) -> int:
        """Append one record and return its sequence number (that of its first slot).

        Parameters
        ----------
        kind : RecordKind
        fields : dict
            MessagePack-able.

        Raises
        ------
        RecordingError
            The record did not reach the operating system whole.
        """
        payload = self._encoder.encode(fields)
        parts = max(1, -(-len(payload) // _ROOM))
        seq = self._next_slot
        if seq + parts > self._reserved:
            self.reserve()
        data = b"".join(
            _slot(seq + part, kind, part, parts, payload[part * _ROOM : (part + 1) * _ROOM]) for part in range(parts)
        )
        self._put(seq, data)
        self._next_slot += parts
        return seq

    def sync(self) -> None:
        """Force to the disk (may take long; never in the path of a pulse)."""
        if self._fd is not None:
            try:
                os.fsync(self._fd)
            except OSError as error:
                raise RecordingError(f"{self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Sync and close; may be repeated."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def _put(self, slot: int, data: bytes) -> None:
        if self._fd is None:
            raise RecordingError(f"{self.path} is closed")
        try:
            os.lseek(self._fd, slot * SLOT_BYTES, os.SEEK_SET)
            written = os.write(self._fd, data)
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror}", "free disk space, then reset") from error
        if written != len(data):
            raise RecordingError(f"{self.path}: {written} of {len(data)} bytes written", "free disk space, then reset")


def _slot(seq: int, kind: int, part: int, parts: int, piece: bytes) -> bytes:
    rest = _HEAD.pack(_MAGIC, 0, seq, kind, part, parts, len(piece))[_CRC_FROM:] + piece.ljust(_ROOM, b"\0")
    return _MAGIC + struct.pack("<I", zlib.crc32(rest)) + rest


def read_wal(path: Path) -> WalContent:
    """Whole records of a log, also of one whose writer was killed.

    Parameters
    ----------
    path : Path

    Returns
    -------
    WalContent
        Slots of zeros at the end are room that was never used; every other slot that is not part of a whole record is
        torn, zeros between records too: they are written in a row.

    Raises
    ------
    RecordingError
        The file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}") from error
    records: list[WalRecord] = []
    pending: list[bytes] = []
    torn = n_empty = 0
    for start in range(0, len(data), SLOT_BYTES):
        slot = data[start : start + SLOT_BYTES]
        if not slot.strip(b"\0"):
            torn += len(pending)
            pending.clear()
            n_empty += 1
            continue
        torn, n_empty = torn + n_empty, 0
        found = _parse(slot, start // SLOT_BYTES)
        if found is None or found[1] != len(pending):
            torn += len(pending) + (found is None or found[1] != 0)
            pending.clear()
            if found is None or found[1] != 0:
                continue
        kind, _, parts, piece = found
        pending.append(piece)
        if len(pending) == parts:
            fields = msgspec.msgpack.decode(b"".join(pending))
            records.append(WalRecord(start // SLOT_BYTES - parts + 1, RecordKind(kind), fields))
            pending.clear()
    return WalContent(records, torn + len(pending))


def _parse(slot: bytes, index: int) -> tuple[int, int, int, bytes] | None:
    """Kind, part, parts and payload of a whole slot."""
    if len(slot) < SLOT_BYTES:
        return None
    magic, crc, seq, kind, part, parts, length = _HEAD.unpack_from(slot)
    if magic != _MAGIC or crc != zlib.crc32(slot[_CRC_FROM:]) or seq != index:
        return None
    return kind, part, parts, slot[_HEAD.size : _HEAD.size + length]


def next_wal_path(folder: Path) -> Path:
    """First of ``stim_000.wal``, ``stim_001.wal`` … that does not exist: a restarted service never overwrites."""
    number = 0
    while (path := folder / f"stim_{number:03d}.wal").exists():
        number += 1
    return path
