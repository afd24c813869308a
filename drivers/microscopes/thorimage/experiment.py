"""`Experiment.xml` of ThorImage: size, rate, channels and planes, by the names of attributes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

from rt_engine.interfaces.errors import DeviceError

DEVICE = "thorimage"


class Experiment(NamedTuple):
    """What a raw file holds. `n_frames` is that of a whole acquisition, flyback included; 0 where it is not told."""

    n_lines: int
    n_pixels: int
    frame_rate_hz: float
    um_per_px: float | None
    channels: tuple[int, ...]
    n_planes: int
    n_flyback: int
    n_frames: int

    @property
    def frames_per_volume(self) -> int:
        """Planes and flyback frames."""
        return self.n_planes + self.n_flyback

    @property
    def frame_bytes(self) -> int:
        """Of all channels of one frame."""
        return 2 * self.n_lines * self.n_pixels * len(self.channels)


def read_experiment(path: Path, channels: tuple[int, ...] | None) -> Experiment | None:
    """The experiment that a file describes; None while it is not there as a whole.

    Parameters
    ----------
    path : Path
        `Experiment.xml`.
    channels : tuple of int or None
        Those that the raw file holds; None: those that the file says are enabled.

    Raises
    ------
    DeviceError
        It describes something that cannot be followed.
    """
    try:
        root = ET.fromstring(path.read_bytes())
    except (OSError, ET.ParseError):
        return None
    lsm, streaming = _attributes(root, "LSM"), _attributes(root, "Streaming")
    if streaming.get("enable") != "1":
        text = f"{path} is of no streaming acquisition, and only those write a raw file while they run"
        raise DeviceError(DEVICE, text, "ThorImage: capture mode Streaming, save as raw")
    is_volume = streaming.get("zFastEnable") == "1"
    averaged = _whole(path, lsm, "averageNum", 1) if lsm.get("averageMode") == "1" else 1
    n_pixels = _whole(path, lsm, "pixelX")
    return Experiment(
        n_lines=_whole(path, lsm, "pixelY"),
        n_pixels=n_pixels,
        frame_rate_hz=_real(path, lsm, "frameRate") / max(averaged, 1),
        um_per_px=_um_per_px(lsm, n_pixels),
        channels=channels or _enabled(path, root),
        n_planes=_whole(path, _attributes(root, "ZStage"), "steps") if is_volume else 1,
        n_flyback=_whole(path, streaming, "flybackFrames", 0) if is_volume else 0,
        n_frames=_whole(path, streaming, "frames", 0),
    )


def _attributes(root: ET.Element, name: str) -> dict[str, str]:
    found = root.find(name)
    return {} if found is None else dict(found.attrib)


def _real(path: Path, attributes: dict[str, str], name: str) -> float:
    try:
        value = float(attributes[name])
    except (KeyError, ValueError) as error:
        text = f"{path} does not tell {name}"
        raise DeviceError(DEVICE, text, "is it the Experiment.xml of a ThorImage acquisition?") from error
    if not value > 0:
        raise DeviceError(DEVICE, f"{path} says {name}={value:g}", "acquire once more")
    return value


def _whole(path: Path, attributes: dict[str, str], name: str, otherwise: int | None = None) -> int:
    text = attributes.get(name, "" if otherwise is None else str(otherwise))
    if otherwise is not None and text.isdigit():
        return int(text)
    return round(_real(path, attributes, name))


def _um_per_px(lsm: dict[str, str], n_pixels: int) -> float | None:
    """From the width of the field: `pixelSizeUM` means other things in some versions."""
    try:
        return float(lsm["widthUM"]) / n_pixels
    except (KeyError, ValueError):
        return None


def _enabled(path: Path, root: ET.Element) -> tuple[int, ...]:
    """Channels in the raw file, from 0.

    Raises
    ------
    DeviceError
        It also holds channels that are not enabled, and the file does not tell how many.
    """
    n_named = len(root.findall("Wavelengths/Wavelength"))
    mask = _attributes(root, "Wavelengths/ChannelEnable").get("Set", "")
    channels = tuple(range(max(n_named, 1)))
    if mask.isdigit() and int(mask):
        channels = tuple(bit for bit in range(int(mask).bit_length()) if int(mask) >> bit & 1)
    if len(channels) > 1 and _attributes(root, "RawData").get("onlyEnabledChannels") == "0":
        text = f"{path}: the raw file also holds channels that are not enabled"
        raise DeviceError(DEVICE, text, "save enabled channels only, or list all in the file by `channels: [0, 1, …]`")
    return channels
