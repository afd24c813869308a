"""Pages of a BigTIFF that ScanImage is still writing: its own offsets are followed, nothing is read too early."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import MovieError

_HEADER = struct.Struct("<2sHHHQ")
_ENTRY = struct.Struct("<HHQQ")
_SCANIMAGE = struct.Struct("<IIII")
_MAGIC = 117_637_889
_MOST_ENTRIES = 200
_MOST_TEXT_BYTES = 32 << 20
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 16: 8}
_WIDTH, _HEIGHT, _BITS, _TEXT, _OFFSETS, _COUNTS, _SOFTWARE, _ARTIST, _FORMAT = (
    256, 257, 258, 270, 273, 279, 305, 315, 339
)  # fmt: skip


class Page(NamedTuple):
    """One image: where its strips lie, and what its description says. `number` is ScanImage's frame number."""

    n_lines: int
    n_pixels: int
    dtype: str
    strips: tuple[tuple[int, int], ...]
    number: int
    acquisition: int
    t_s: float


class GrowingTiff:
    """Reads pages in order while they are being appended.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    metadata : str
        ``SI.…`` lines of the acquisition; empty until they are there.
    roi_groups : str
        JSON of the ROIs; empty until it is there, or where there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.metadata, self.roi_groups = path, "", ""
        self._file: BinaryIO | None = None
        self._link = 0
        """Where the offset of the next page stands: it may be zero, or stale, until that page is written."""

    def next_page(self) -> Page | None:
        """The next page that is there as a whole; None while it is not.

        Raises
        ------
        MovieError
            The file is no BigTIFF of ScanImage, or it is gone.
        """
        try:
            return self._next_page()
        except OSError as error:
            raise MovieError(f"cannot be read: {error.strerror}", file=str(self.path)) from error

    def read(self, page: Page, out: NDArray[np.generic]) -> None:
        """Pixels of a page into `out` (shape (n_lines, n_pixels), int16 or uint16, overwritten)."""
        if self._file is None:
            raise MovieError("read before a page was found", file=str(self.path))
        data = bytearray()
        for offset, n_bytes in page.strips:
            self._file.seek(offset)
            data += self._file.read(n_bytes)
        out[...] = np.frombuffer(bytes(data), "<" + page.dtype).reshape(out.shape)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next_page(self) -> Page | None:
        if self._file is None and not self._begin():
            return None
        file = self._file
        if file is None:
            return None
        size = file.seek(0, 2)
        start = self._number(file, self._link, size)
        if not start or start + 8 > size:
            return None
        n_entries = self._number(file, start, size)
        end = start + 8 + _ENTRY.size * (n_entries or 0)
        if not n_entries or n_entries > _MOST_ENTRIES or end + 8 > size:
            return None
        file.seek(start + 8)
        block = file.read(_ENTRY.size * n_entries)
        tags = {tag: (kind, n, value) for tag, kind, n, value in _ENTRY.iter_unpack(block)}
        page = self._page(file, tags, size)
        if page is not None:
            self._link = end
        return page

    def _begin(self) -> bool:
        """Open the file once its header is there."""
        if not self.path.is_file() or self.path.stat().st_size < _HEADER.size:
            return False
        file = self.path.open("rb")
        order, version, offset_size, _, _ = _HEADER.unpack(file.read(_HEADER.size))
        if (order, version, offset_size) != (b"II", 43, 8):
            file.close()
            raise MovieError("is no little-endian BigTIFF", "ScanImage 2016 and later write one", file=str(self.path))
        self._file, self._link = file, 8
        return True

    def _number(self, file: BinaryIO, offset: int, size: int) -> int:
        """Eight bytes as a number; 0 where they are not there yet."""
        if offset + 8 > size:
            return 0
        file.seek(offset)
        return int.from_bytes(file.read(8), "little")

    def _page(self, file: BinaryIO, tags: dict[int, tuple[int, int, int]], size: int) -> Page | None:
        text = self._text(file, tags.get(_TEXT), size)
        offsets, counts = (self._values(file, tags.get(tag), size) for tag in (_OFFSETS, _COUNTS))
        if text is None or not offsets or len(offsets) != len(counts):
            return None
        strips = tuple(zip(offsets, counts, strict=True))
        number = re.search(r"^frameNumbers? *= *(\d+)", text, re.MULTILINE)
        if number is None or any(offset + n > size for offset, n in strips):
            return None
        if not self.metadata:
            settings, groups = self._scanimage_blocks(file, size)
            self.metadata = settings or self._text(file, tags.get(_SOFTWARE), size) or ""
            self.roi_groups = groups or self._text(file, tags.get(_ARTIST), size) or ""
        n_lines, n_pixels = self._values(file, tags.get(_HEIGHT), size), self._values(file, tags.get(_WIDTH), size)
        bits, signed = self._values(file, tags.get(_BITS), size), self._values(file, tags.get(_FORMAT), size)
        if not n_lines or not n_pixels or bits != [16] or sum(counts) != 2 * n_lines[0] * n_pixels[0]:
            raise MovieError("its pages are not 16 bits without compression", file=str(self.path))
        return Page(
            n_lines[0],
            n_pixels[0],
            "i2" if signed == [2] else "u2",
            strips,
            int(number[1]),
            int(_float(text, "acquisitionNumbers?")),
            _float(text, "frameTimestamps?_sec"),
        )

    def _values(self, file: BinaryIO, tag: tuple[int, int, int] | None, size: int) -> list[int]:
        """Whole numbers of a tag; none where they are not there yet."""
        if tag is None or tag[0] not in _SIZES:
            return []
        kind, n, value = tag
        width = _SIZES[kind]
        if n * width <= 8:
            data = value.to_bytes(8, "little")[: n * width]
        elif value + n * width > size:
            return []
        else:
            file.seek(value)
            data = file.read(n * width)
        return [int.from_bytes(data[i : i + width], "little") for i in range(0, n * width, width)]

    def _text(self, file: BinaryIO, tag: tuple[int, int, int] | None, size: int) -> str | None:
        """Text of a tag; None where it is not there yet."""
        if tag is None or tag[1] > _MOST_TEXT_BYTES or (tag[1] > 8 and tag[2] + tag[1] > size):
            return None
        if tag[1] <= 8:
            return tag[2].to_bytes(8, "little").rstrip(b"\0").decode("utf-8", errors="replace")
        file.seek(tag[2])
        return file.read(tag[1]).rstrip(b"\0").decode("utf-8", errors="replace")

    def _scanimage_blocks(self, file: BinaryIO, size: int) -> tuple[str, str]:
        """Settings and ROI groups that ScanImage writes behind the TIFF header; empty where there are none."""
        file.seek(_HEADER.size)
        data = file.read(_SCANIMAGE.size)
        if len(data) < _SCANIMAGE.size:
            return "", ""
        magic, _, n_settings, n_groups = _SCANIMAGE.unpack(data)
        if magic != _MAGIC or n_settings + n_groups > _MOST_TEXT_BYTES or 32 + n_settings + n_groups > size:
            return "", ""
        blocks = file.read(n_settings), file.read(n_groups)
        settings, groups = (one.rstrip(b"\0").decode("utf-8", errors="replace") for one in blocks)
        return settings, groups


def value_of(metadata: str, key: str) -> str:
    """What the metadata says of a key like ``hRoiManager.scanFrameRate``; empty where nothing."""
    found = re.search(rf"^SI\.{re.escape(key)} *= *(.*?) *$", metadata, re.MULTILINE)
    return found[1] if found else ""


def _float(text: str, key: str) -> float:
    found = re.search(rf"^{key} *= *(-?[\d.]+)", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
