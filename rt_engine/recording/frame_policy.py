"""Which frames go into the journal: all, every n-th, only what lies around the cells, or none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import CropsHeader, FrameHeader, RoisHeader, decode, encode
from rt_engine.interfaces.service_config import RecordingConfig

Message = tuple[str, bytes, bytes | memoryview]
_DTYPES = {"u2": np.dtype("<u2"), "i2": np.dtype("<i2")}


class FramePolicy:
    """Turns one frame message into what is kept of it.

    Parameters
    ----------
    config : RecordingConfig

    Attributes
    ----------
    enabled : bool
        False once frames have ended, for want of space.
    baseline : bool
        While it is true everything is kept: the calibration is made from it.
    n_left_out : int
        Frame messages of which nothing was kept.
    """

    def __init__(self, config: RecordingConfig) -> None:
        self._mode, self._every_nth = config.frames, config.every_nth_frame
        self._margin_px = config.crop_margin_px
        self._boxes: dict[int, list[list[int]]] = {}
        self.enabled = True
        self.baseline = True
        self.n_left_out = 0

    def learn_cells(self, topic: str, header_bytes: bytes, payload: bytes | memoryview) -> None:
        """Take the footprints of a `rois` message: frames are cropped around them."""
        if self._mode != "crops" or not len(payload):
            return
        try:
            header = decode(topic, header_bytes)
        except MessageError:
            return
        if not isinstance(header, RoisHeader) or not header.footprint_start:
            return
        pixels = np.frombuffer(payload, "<u4").astype(np.int64)
        size = header.lines_per_frame, header.pixels_per_line
        self._boxes[header.plane] = [
            _box(pixels[first:end], size, self._margin_px)
            for first, end in pairwise(header.footprint_start)
            if end > first
        ]

    def keep(self, topic: str, header_bytes: bytes, payload: bytes | memoryview) -> Iterator[Message]:
        """What is to be journalled of one frame message: it as it came, its crops, or nothing."""
        if self.baseline and self.enabled:
            yield topic, header_bytes, payload
            return
        if not self.enabled or self._mode == "none":
            self.n_left_out += 1
            return
        if self._mode == "all" and self._every_nth == 1:
            yield topic, header_bytes, payload
            return
        try:
            header = decode(topic, header_bytes)
        except MessageError:
            header = None
        if not isinstance(header, FrameHeader):
            yield topic, header_bytes, payload
        elif (header.frame if header.volume is None else header.volume) % self._every_nth:
            self.n_left_out += 1
        elif self._mode == "crops":
            yield self._cropped(header, payload)
        else:
            yield topic, header_bytes, payload

    def _cropped(self, header: FrameHeader, payload: bytes | memoryview) -> Message:
        lines = np.frombuffer(payload, _DTYPES[header.dtype]).reshape(header.n_lines, header.pixels_per_line)
        boxes, pieces = [], []
        for y, x, height, width in self._boxes.get(header.plane, ()):
            first, end = max(y, header.line0), min(y + height, header.line0 + header.n_lines)
            if end > first:
                boxes.append([first, x, end - first, width])
                pieces.append(lines[first - header.line0 : end - header.line0, x : x + width].tobytes())
        crops = CropsHeader(
            session=header.session, source=header.source, host=header.host, boot_id=header.boot_id, seq=header.seq,
            t_sent_ns=header.t_sent_ns, plane=header.plane, channel=header.channel, frame=header.frame,
            volume=header.volume, line0=header.line0, n_lines=header.n_lines, dtype=header.dtype,
            t_scan_ns=header.t_scan_ns, flags=header.flags, boxes=boxes,
        )  # fmt: skip
        return f"crops.{header.plane}.{header.channel}", encode(crops), b"".join(pieces)


def _box(pixels: NDArray[np.int64], size: tuple[int, int], margin_px: int) -> list[int]:
    """``[y, x, height, width]`` around a footprint, within the frame."""
    y, x = np.divmod(pixels, size[1])
    top, left = max(int(y.min()) - margin_px, 0), max(int(x.min()) - margin_px, 0)
    bottom, right = min(int(y.max()) + margin_px + 1, size[0]), min(int(x.max()) + margin_px + 1, size[1])
    return [top, left, bottom - top, right - left]
