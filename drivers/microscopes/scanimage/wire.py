"""What our user function in ScanImage sends: magic, two lengths, a MessagePack map, int16 pixels of every channel."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import MessageError

MAGIC = b"SLF1"
_LENGTHS = struct.Struct("<4sII")
_MOST_HEADER_BYTES = 65_536
_MOST_PAYLOAD_BYTES = 256 << 20


class FrameNote(msgspec.Struct, kw_only=True):
    """The map of one frame. Unknown keys are ignored.

    `boot` is new at every start of the user function, `seq` counts its messages from 0, `frame` is ScanImage's own
    number from 1, `t_s` its time stamp in seconds since the acquisition began, `skipped` how many frames the function
    has left out so far because this side was too slow. `plane` counts from 0; `flyback` frames are to be thrown away.
    `mroi`: ScanImage images multiple ROIs, of which the display does not say where each lies. `zoom` is its factor;
    None from a function of an older version.
    """

    boot: str
    seq: int
    frame: int
    t_s: float
    n_lines: int
    n_pixels: int
    channels: list[int]
    frame_rate_hz: float
    n_planes: int = 1
    n_flyback: int = 0
    plane: int = 0
    volume: int | None = None
    flyback: bool = False
    skipped: int = 0
    mroi: bool = False
    zoom: float | None = None


def pack(note: FrameNote, pixels: NDArray[np.int16]) -> bytes:
    """One message as the user function sends it.

    Parameters
    ----------
    note : FrameNote
    pixels : int16 ndarray, shape (n_channels, n_lines, n_pixels)
        Sent column by column, as MATLAB keeps them.
    """
    header = msgspec.msgpack.encode(note)
    payload = np.ascontiguousarray(pixels.transpose(0, 2, 1)).astype("<i2").tobytes()
    return _LENGTHS.pack(MAGIC, len(header), len(payload)) + header + payload


class Unpacker:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def take(self, data: bytes) -> Iterator[tuple[FrameNote, NDArray[np.int16]]]:
        """Messages that are complete with these bytes.

        Yields
        ------
        note : FrameNote
        pixels : int16 ndarray, shape (n_channels, n_pixels, n_lines)
            As MATLAB keeps them: turn the last two axes.

        Raises
        ------
        MessageError
            The bytes are no such message: the connection is of no use any more.
        """
        self._rest += data
        while len(self._rest) >= _LENGTHS.size:
            magic, n_header, n_payload = _LENGTHS.unpack_from(self._rest)
            if magic != MAGIC or n_header > _MOST_HEADER_BYTES or n_payload > _MOST_PAYLOAD_BYTES:
                raise MessageError("this is no message of spikeloop_frames.m", "let nothing else connect to this port")
            end = _LENGTHS.size + n_header + n_payload
            if len(self._rest) < end:
                return
            body = bytes(self._rest[_LENGTHS.size : end])
            del self._rest[:end]
            yield self._message(body[:n_header], body[n_header:])

    def _message(self, header: bytes, payload: bytes) -> tuple[FrameNote, NDArray[np.int16]]:
        try:
            note = msgspec.msgpack.decode(header, type=FrameNote)
        except msgspec.MsgspecError as error:
            raise MessageError(f"spikeloop_frames.m sends {error}", "install the file of this version again") from error
        shape = (len(note.channels), note.n_pixels, note.n_lines)
        if len(payload) != 2 * shape[0] * shape[1] * shape[2] or not note.channels:
            raise MessageError(f"frame {note.frame}: {len(payload)} bytes are not {shape} pixels")
        return note, np.frombuffer(payload, "<i2").reshape(shape)
