"""Microscopes of vendors: what each needs to be found and understood."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rt_engine.interfaces.strict import Strict


class MicroManagerMicroscope(Strict):
    """The camera of a Micro-Manager configuration, driven by `pymmcore` in this process.

    `config_file` is a ``.cfg`` of Micro-Manager; ``demo`` is its simulated camera. `adapters` is the folder of its
    device adapters (Windows: ``C:/Program Files/Micro-Manager-2.0``). `properties` are set on the camera, by name.
    """

    driver: Literal["micromanager"]
    config_file: str = Field(min_length=1)
    adapters: str | None = None
    exposure_ms: float = Field(gt=0, le=10_000)
    frame_rate_hz: float = Field(gt=0, le=1000, description="of the camera at this exposure; what comes is compared")
    properties: dict[str, str] = {}
    buffer_mb: int = Field(256, ge=16, le=8192)
    um_per_px: float | None = Field(None, gt=0, description="null: as the configuration says")


class ScanImageMicroscope(Strict):
    """ScanImage, by our user function `drivers/microscopes/scanimage/spikeloop_frames.m`, which connects to this port.

    On another computer than ScanImage's set `host` to the address of this one.
    """

    driver: Literal["scanimage"]
    host: str = "127.0.0.1"
    port: int = Field(5995, ge=1024, le=65535)
    transposed: bool = Field(False, description="true: turn lines and pixels; look at an asymmetric target")
    um_per_px: float | None = Field(None, gt=0)


class ScanImageFile(Strict):
    """ScanImage, by the TIFF files that it is writing: no change on its side, later than by the user function.

    `pattern` names the files (``D:/data/run1_*.tif``): the newest is followed, then each that comes after it by name.
    """

    driver: Literal["scanimage_file"]
    pattern: str = Field(min_length=1)
    um_per_px: float | None = Field(None, gt=0, description="null: as the file says")
