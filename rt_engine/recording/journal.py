"""The session journal: every wire message, in order, in MCAP files that survive the death of their writer."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.errors import RecordingError
from rt_engine.recording.mcap_file import JournalFile, McapFile

ENCODING = "spikeloop/1"
CHANNEL_RECORD = "spikeloop/channel"
"""Name of the MCAP metadata records that repeat every channel outside the chunks, should its first chunk be damaged."""

HEADER_LENGTH = struct.Struct("<I")
_FILE_BYTES = 2 << 30
_FLUSHES_PER_FILE = 36_000
"""A file is ended at either bound: programs that read MCAP by its index hold some 1 kB for each chunk in memory."""
_SEQUENCE_MASK = 0xFFFF_FFFF


def create_journal_file(path: Path) -> JournalFile:
    """New unbuffered file; one that exists is never overwritten."""
    return open(path, "xb", buffering=0)


def free_space_mb(folder: Path) -> float:
    """Space left on the disk of `folder`, megabytes (1e6 bytes).

    Raises
    ------
    RecordingError
        The folder is gone.
    """
    try:
        return shutil.disk_usage(folder).free / 1e6
    except OSError as error:
        raise RecordingError(f"{folder}: free space cannot be read: {error.strerror}") from error


def channel_check(channel_id: str, topic: str) -> str:
    """Checksum of a channel's repeated record: a damaged one must not rename a topic."""
    return f"{zlib.crc32(f'{channel_id} {topic}'.encode()):08x}"


class JournalWriter:
    """Writes ``session_000.mcap``, ``session_001.mcap`` … into a folder. Not thread-safe: one thread owns it.

    One MCAP message per wire message: channel = topic, encoding ``spikeloop/1`` = uint32 little-endian length of the
    header, header map, payload. The MCAP sequence of a message counts the messages of its topic from 0 through all
    files, so that a reader can say what is missing.

    Parameters
    ----------
    folder : Path
        Session folder; it must exist, and hold no journal yet.
    t_wall_ns : int
        Wall time (Unix epoch) when the session started, nanoseconds.
    t_monotonic_ns : int
        Monotonic time at the same instant, nanoseconds.
    flush_s : float
        The longest time that a message may wait in memory, provided `tick` is called twice as often.
    file_bytes : int
        A file of this size is ended and the next begun.
    create_file : callable
        Makes the file of a path.

    Raises
    ------
    RecordingError
        The first file cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        t_wall_ns: int,
        t_monotonic_ns: int,
        flush_s: float = 0.2,
        *,
        file_bytes: int = _FILE_BYTES,
        create_file: Callable[[Path], JournalFile] = create_journal_file,
    ) -> None:
        self._folder = folder
        self._wall_minus_monotonic_ns = t_wall_ns - t_monotonic_ns
        self._flush_after_ns = int(flush_s * NS_PER_S / 2)
        self._file_bytes = file_bytes
        self._create_file = create_file
        self._t_flushed_ns = self._t_seen_ns = t_monotonic_ns
        self._sequence: dict[str, int] = {}
        self._failure: RecordingError | None = None
        self._closed = False
        self._unflushed = False
        self._index = 0
        self._open()

    @property
    def path(self) -> Path:
        """The file being written."""
        return self._path

    @property
    def bytes_written(self) -> int:
        """Bytes of the present file that have reached the operating system."""
        return self._file.position

    def write(
        self,
        topic: str,
        header_bytes: bytes,
        payload: bytes | memoryview,
        t_ns: int,
        *,
        sequence: int | None = None,
    ) -> None:
        """Append one message.

        Parameters
        ----------
        topic : str
        header_bytes : bytes
            The header as it came over the wire.
        payload : bytes or memoryview
            Read before this returns; may be empty.
        t_ns : int
            Monotonic time, nanoseconds; becomes the log time.
        sequence : int, optional
            Number of the message within its topic, where it has one already; the next ones count on from it.

        Raises
        ------
        RecordingError
            The disk refused, now or before; what had been written stays readable.
        """
        self._require_open()
        if self._file.position > self._file_bytes or self._n_flushes > _FLUSHES_PER_FILE:
            self.rotate()
        t_log_ns = max(t_ns + self._wall_minus_monotonic_ns, 0)
        if sequence is None:
            sequence = self._sequence.get(topic, 0)
        self._sequence[topic] = sequence + 1
        head = HEADER_LENGTH.pack(len(header_bytes)) + header_bytes
        try:
            channel = self._channels.get(topic)
            if channel is None:
                channel = self._add_channel(topic)
            self._file.add_message(channel, t_log_ns, sequence & _SEQUENCE_MASK, head, payload)
        except OSError as error:
            raise self._fail(error) from error
        self._unflushed = True

    def tick(self, now_ns: int) -> None:
        """Hand what waits in memory to the operating system if it is time; call it at least every ``flush_s / 2``.

        Raises
        ------
        RecordingError
            The disk refused.
        """
        if self._closed or self._failure is not None or now_ns - self._t_flushed_ns < self._flush_after_ns:
            return
        self._t_flushed_ns = now_ns
        self.flush()

    def require_there(self, now_ns: int) -> None:
        """Notice, at most once a second, that somebody has removed the file: what is written would go nowhere.

        Raises
        ------
        RecordingError
            The file is gone.
        """
        if self._closed or self._failure is not None or now_ns - self._t_seen_ns < NS_PER_S:
            return
        self._t_seen_ns = now_ns
        if not self._path.exists():
            self._file.abandon()
            self._failure = RecordingError(f"{self._path} was removed while it was written; what it held is lost")
            raise self._failure

    def flush(self) -> None:
        """Hand all that waits in memory to the operating system. A power cut may still take what it has not synced.

        Raises
        ------
        RecordingError
            The disk refused.
        """
        self._require_open()
        if not self._unflushed:
            return
        try:
            self._file.flush()
        except OSError as error:
            raise self._fail(error) from error
        self._unflushed = False
        self._n_flushes += 1

    def rotate(self) -> Path:
        """End the present file and begin the next; no message is lost or doubled.

        Returns
        -------
        Path
            The file that is complete now.

        Raises
        ------
        RecordingError
            The disk refused.
        """
        self._require_open()
        done = self._path
        self._finish()
        self._index += 1
        self._open()
        return done

    def resume(self) -> Path:
        """Go on in a new file after a failure; what could not be written stays lost, and is missing by its number.

        Returns
        -------
        Path
            The new file.

        Raises
        ------
        RecordingError
            The disk refuses that as well, or the journal is closed.
        """
        if self._closed:
            raise RecordingError(f"{self._path}: the journal is closed")
        if self._failure is None:
            self._file.abandon()
        self._failure = None
        self._unflushed = False
        self._index += 1
        self._open()
        return self._path

    def close(self) -> None:
        """End the journal; again is harmless.

        Raises
        ------
        RecordingError
            The disk refused the end of the file; all messages flushed before stay readable.
        """
        if self._closed:
            return
        self._closed = True
        if self._failure is None:
            self._finish()

    def _open(self) -> None:
        self._path = self._folder / f"session_{self._index:03d}.mcap"
        try:
            file = self._create_file(self._path)
        except FileExistsError as error:
            self._failure = RecordingError(f"{self._path} exists: another recorder writes into this folder, or did")
            raise self._failure from error
        except OSError as error:
            self._failure = RecordingError(f"{self._path}: cannot be made: {error.strerror or error}")
            raise self._failure from error
        self._channels: dict[str, int] = {}
        self._n_flushes = 0
        try:
            self._file = McapFile(file, self._folder, "spikeloop", "spikeloop journal 1")
        except OSError as error:
            with contextlib.suppress(OSError):  # the descriptor is gone either way; the first reason is the one to tell
                file.close()
            self._failure = self._refused(error)
            raise self._failure from error

    def _add_channel(self, topic: str) -> int:
        channel = self._file.add_channel(topic, ENCODING)
        name = str(channel)
        record = {"id": name, "topic": topic, "check": channel_check(name, topic)}
        self._file.add_metadata(CHANNEL_RECORD, record)
        self._channels[topic] = channel
        return channel

    def _finish(self) -> None:
        try:
            self._file.finish()
        except OSError as error:
            raise self._fail(error) from error
        self._unflushed = False

    def _require_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise RecordingError(f"{self._path}: the journal is closed")

    def _fail(self, error: OSError) -> RecordingError:
        self._failure = self._refused(error)
        self._file.abandon()
        return self._failure

    def _refused(self, error: OSError) -> RecordingError:
        reason = error.strerror or os.strerror(error.errno or 0)
        return RecordingError(
            f"{self._path}: the journal cannot be written: {reason}",
            "what was written before stays readable; free space on this disk and start a new session",
        )
