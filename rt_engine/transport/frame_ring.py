"""Frames in memory that two processes of one computer share: written once, read where they are.

Every slot belongs to the writer until it is filled and to the reader until it is given back: nothing is overwritten
while it is read. What a slot holds is told by a message elsewhere, which is also the word that it is there.
"""

from __future__ import annotations

import contextlib
import shutil
import struct
import sys
from multiprocessing.shared_memory import SharedMemory
from typing import NamedTuple

import numpy as np

from rt_engine.interfaces.errors import MessageError, ServiceError
from rt_engine.transport.shared_segments import FOLDER, create_segment, remove_abandoned

RING_BYTES = 64 * 1024 * 1024
"""Of all slots together; as many whole frames as fit wait for an engine that stands still."""
MOST_BYTES = 512 * 1024 * 1024
"""Where more frames shall be able to wait than fit into `RING_BYTES`."""
_MOST_SLOTS, _FEWEST_SLOTS = 4000, 32
_PAGE_BYTES = 4096
_IS_ATTACHED, _IS_FOLLOWED, _FIRST_STATE = 0, 1, 64
"""Bytes of the first page: two words of the reader, then one for every slot, 1 while its frame is wanted."""
_NUMBER = struct.Struct("<Q")
_HEAD_BYTES = 64
"""Before the pixels of a slot: the number of the frame in it; the pixels begin at a cache line."""


class RingShape(NamedTuple):
    """What a reader has to know.

    Attributes
    ----------
    slot_bytes : int
        Pixels that a slot can hold.
    n_slots : int
    """

    slot_bytes: int
    n_slots: int

    @classmethod
    def for_frames(cls, frame_bytes: int, ring_bytes: int = RING_BYTES, n_wanted: int = 0) -> RingShape:
        """As many slots as `ring_bytes` hold, or as are wanted where there is room for them, within limits."""
        per_frame = max(1, frame_bytes)
        wanted = min(n_wanted, MOST_BYTES // per_frame)
        return cls(frame_bytes, min(_MOST_SLOTS, max(_FEWEST_SLOTS, ring_bytes // per_frame, wanted)))

    @property
    def stride_bytes(self) -> int:
        """From one slot to the next."""
        return -(-(self.slot_bytes + _HEAD_BYTES) // _PAGE_BYTES) * _PAGE_BYTES

    @property
    def n_bytes(self) -> int:
        """Of the whole segment."""
        return _PAGE_BYTES + self.n_slots * self.stride_bytes

    def offset(self, slot: int) -> int:
        """Where a slot begins."""
        return _PAGE_BYTES + slot * self.stride_bytes


def _bytes_of(memory: SharedMemory) -> memoryview:
    if memory.buf is None:
        raise ServiceError("the shared memory has been closed")
    return memory.buf


class FrameRing:
    """The writer's side. It makes the segment; the name goes as soon as the reader has the memory.

    Parameters
    ----------
    shape : RingShape

    Raises
    ------
    ServiceError
        There is not so much memory to share.
    """

    def __init__(self, shape: RingShape) -> None:
        self.shape = shape
        remove_abandoned()
        if sys.platform == "linux" and (free := shutil.disk_usage(FOLDER).free) < 2 * shape.n_bytes:
            # Beyond what is free, touching the memory would end the process.
            raise ServiceError(f"{FOLDER} has {free >> 20} MiB free, {2 * shape.n_bytes >> 20} MiB are wanted")
        try:
            self._memory, self._claim = create_segment(shape.n_bytes)
        except OSError as error:
            raise ServiceError(f"no shared memory: {error.strerror or error}") from error
        self._bytes = _bytes_of(self._memory)
        self._is_named = True
        np.frombuffer(self._bytes, np.uint8)[::_PAGE_BYTES] = 0  # from here on the memory is ours

    @property
    def name(self) -> str:
        """By which the reader finds it."""
        return self._memory.name

    @property
    def is_followed(self) -> bool:
        """True once the reader takes frames from here alone."""
        return self._bytes[_IS_FOLLOWED] == 1

    def put(self, number: int, pixels: memoryview) -> int | None:
        """Copy a frame into a free slot; None if all are in use.

        Parameters
        ----------
        number : int
            By which the reader knows that the slot holds what he was told.
        pixels : memoryview
            Bytes, at most `slot_bytes`.
        """
        memory = self._bytes
        # The lowest slot that is free: the one used last, which is still in the cache.
        slot = bytes(memory[_FIRST_STATE : _FIRST_STATE + self.shape.n_slots]).find(0)
        if slot < 0:
            return None
        memory[_FIRST_STATE + slot] = 1
        begin = self.shape.offset(slot)
        _NUMBER.pack_into(memory, begin, number)
        begin += _HEAD_BYTES
        memory[begin : begin + len(pixels)] = pixels
        return slot

    def take_back(self, slot: int) -> None:
        """Of a frame that the reader was never told."""
        self._bytes[_FIRST_STATE + slot] = 0

    def settle(self) -> None:
        """Give up the name if the reader has the memory; to be called with every message."""
        if self._is_named and self._bytes[_IS_ATTACHED]:
            self._forget_name()

    def close(self) -> None:
        """Let go of the memory; it is gone when the reader has done so too."""
        if self._is_named:
            self._forget_name()
        self._memory.close()

    def _forget_name(self) -> None:
        self._is_named = False
        self._claim.release()
        with contextlib.suppress(FileNotFoundError):
            self._memory.unlink()


class RingReader:
    """The reader's side.

    Parameters
    ----------
    name : str
    shape : RingShape

    Raises
    ------
    MessageError
        There is no such ring.
    """

    def __init__(self, name: str, shape: RingShape) -> None:
        self.shape = shape
        try:
            self._memory = SharedMemory(name)
        except (OSError, ValueError) as error:
            raise MessageError(f"the frames in shared memory cannot be reached: {error}") from error
        if self._memory.size < shape.n_bytes:
            self._memory.close()
            raise MessageError(f"the shared memory has {self._memory.size} bytes where {shape.n_bytes} were told")
        self._bytes = _bytes_of(self._memory)
        np.frombuffer(self._bytes, np.uint8)[::_PAGE_BYTES].max()  # looked up now, and not when a frame is waiting
        self._bytes[_IS_ATTACHED] = 1

    def follow(self) -> None:
        """Tell the writer that frames need come by no other way."""
        self._bytes[_IS_FOLLOWED] = 1

    def view(self, slot: int, number: int, n_bytes: int) -> memoryview:
        """Pixels of a frame, in place; valid until `give_back`.

        Raises
        ------
        MessageError
            The slot does not hold that frame.
        """
        if slot >= self.shape.n_slots or n_bytes > self.shape.slot_bytes:
            raise MessageError(f"slot {slot} with {n_bytes} bytes is none of the ring")
        begin = self.shape.offset(slot)
        if _NUMBER.unpack_from(self._bytes, begin)[0] != number:
            raise MessageError(f"slot {slot} does not hold frame message {number}")
        begin += _HEAD_BYTES
        return self._bytes[begin : begin + n_bytes]

    def give_back(self, slot: int) -> None:
        """The writer may fill the slot again."""
        if slot < self.shape.n_slots:
            self._bytes[_FIRST_STATE + slot] = 0

    def close(self) -> bool:
        """Let go of the memory; false as long as somebody still holds pixels of it."""
        try:
            self._memory.close()
        except BufferError:
            return False
        return True
