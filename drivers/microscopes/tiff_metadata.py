"""What the writers of TIFF movies say about rate, pixel size, channels and range, each in its own way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from xml.etree import ElementTree

import tifffile

from drivers.microscopes.movie_frames import MovieMetadata, positive
from drivers.microscopes.scanfields import decoded_groups, read_scanfields

_TIME_UNIT_S = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "min": 60.0}
SCANIMAGE_ZOOM = "hRoiManager.scanZoomFactor"
_LENGTH_UNIT_UM = {
    "µm": 1.0,
    "um": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "micron": 1.0,
    "microns": 1.0,
    "\\u00B5m": 1.0,
}


def read_tiff_metadata(tiff: tifffile.TiffFile) -> MovieMetadata:
    """Metadata of an open TIFF by its writer: ScanImage, OME, ImageJ, or JSON in the description."""
    page = tiff.pages.first
    software = _text(page, "Software")
    description = _text(page, "ImageDescription")
    if re.search(r"^(SI|scanimage\.SI\d?)\.", software + "\n" + description, re.MULTILINE):
        return _scanimage(tiff, software + "\n" + description)
    if tiff.is_ome:
        return _ome(description)
    if tiff.is_imagej:
        metadata = dict(tiff.imagej_metadata or {})
        return MovieMetadata(_rate_of(metadata), _imagej_um_per_px(page, metadata))
    return MovieMetadata(_rate_of(_json(description)))


def _text(page: tifffile.TiffPage | tifffile.TiffFrame, tag: str) -> str:
    found = page.tags.get(tag) if isinstance(page, tifffile.TiffPage) else None
    return found.value if found is not None and isinstance(found.value, str) else ""


def _inverse(value: float | None) -> float | None:
    return 1.0 / value if value else None


def _json(text: str) -> dict[str, object]:
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _rate_of(metadata: dict[str, object]) -> float | None:
    """Frames per second from the keys that ImageJ and tifffile use: `fps`, or `finterval` in seconds."""
    return positive(metadata.get("fps")) or _inverse(positive(metadata.get("finterval")))


def _imagej_um_per_px(page: tifffile.TiffPage, metadata: dict[str, object]) -> float | None:
    unit = _LENGTH_UNIT_UM.get(str(metadata.get("unit", "")))
    resolution = page.tags.get("XResolution")
    if unit is None or resolution is None or not resolution.value[0]:
        return None
    return unit * float(resolution.value[1]) / float(resolution.value[0])


def _ome(description: str) -> MovieMetadata:
    try:
        pixels = ElementTree.fromstring(description).find(".//{*}Pixels")
    except ElementTree.ParseError:
        return MovieMetadata()
    if pixels is None:
        return MovieMetadata()
    size = positive(pixels.get("PhysicalSizeX"))
    unit_um = _LENGTH_UNIT_UM.get(pixels.get("PhysicalSizeXUnit", "µm"))
    step = positive(pixels.get("TimeIncrement"))
    interval_s = step * _TIME_UNIT_S.get(pixels.get("TimeIncrementUnit", "s"), 1.0) if step else None
    if interval_s is None:
        stamps = {
            int(plane.get("TheT", "0")): positive(plane.get("DeltaT")) or 0.0 for plane in pixels.iter("{*}Plane")
        }
        last = max(stamps, default=0)
        interval_s = (stamps[last] - stamps.get(0, 0.0)) / last if last else None
    bits = positive(pixels.get("SignificantBits"))
    return MovieMetadata(
        _inverse(interval_s if interval_s and interval_s > 0 else None),
        size * unit_um if size and unit_um else None,
        2 ** int(bits) - 1 if bits else None,
    )


def _scanimage(tiff: tifffile.TiffFile, header: str) -> MovieMetadata:
    def value(key: str) -> str:
        found = re.search(rf"\.{key} *= *(.*?) *$", header, re.MULTILINE)
        return found.group(1).strip() if found else ""

    page = tiff.pages.first
    pixels = positive(value("hRoiManager.pixelsPerLine"))
    fov = re.findall(r"-?[\d.]+", value("hRoiManager.imagingFovUm"))
    xs = [float(number) for number in fov[0::2]]
    bits = re.search(r"\d+", value("hChannels.channelAdcResolution"))
    frames_per_volume, n_planes = scanimage_volume(value)
    groups = decoded_groups(_text(page, "Artist")) or tiff.scanimage_metadata
    fields = read_scanfields(value, groups, (page.imagelength, page.imagewidth), tiff.filename)
    rate_hz = positive(value(r"(?:hRoiManager\.)?scanFrameRate"))
    return MovieMetadata(
        frame_rate_hz=rate_hz / frames_per_volume if rate_hz else None,
        um_per_px=(max(xs) - min(xs)) / pixels if xs and pixels and max(xs) > min(xs) else None,
        adc_max=2 ** (int(bits.group()) - 1) - 1 if bits else None,
        n_interleaved=_interleaved_channels(tiff, value("hChannels.channelSave") or value("channelsSave")),
        frames_per_volume=frames_per_volume,
        n_planes=n_planes,
        fields=fields,
        zoom=positive(value(SCANIMAGE_ZOOM)),
    )


def scanimage_volume(value: Callable[[str], str]) -> tuple[int, int]:
    """Images of one volume of ScanImage, flyback included, and planes in it; (1, 1) where the focus stands still.

    Parameters
    ----------
    value : callable
        What the header says of a key like ``hFastZ.enable``; empty where nothing.
    """
    if value("hFastZ.enable").lower() not in ("true", "1"):
        return 1, 1
    planes = positive(value("hStackManager.numSlices")) or positive(value("hStackManager.numFramesPerVolume"))
    per_volume = (
        positive(value("hStackManager.numFramesPerVolumeWithFlyback"))
        or positive(value("hFastZ.numFramesPerVolume"))
        or positive(value("hStackManager.numFramesPerVolume"))
        or planes
    )
    images = int(per_volume or 1)
    return images, min(int(planes or images), images)


def _interleaved_channels(tiff: tifffile.TiffFile, channel_save: str) -> int:
    """Channels in turn: pages that carry the same frame number; without numbers, what the header says was saved."""
    numbers = []
    for index in range(min(len(tiff.pages), 9)):
        found = re.search(r"frameNumbers? *= *(\d+)", _text(tiff.pages.get(index), "ImageDescription"))
        if not found:
            return max(len(re.findall(r"\d+", channel_save)), 1)
        numbers.append(found.group(1))
    return max(numbers.count(numbers[0]), 1)
