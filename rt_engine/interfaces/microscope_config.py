"""Microscopes of vendors: what each needs to be found and understood."""

from __future__ import annotations

from typing import Annotated, Literal

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
    Multiple ROIs (mROI) of one picture are planes, in the order of `fields`, which all have one size; at several depths
    those of the first depth come first.
    """

    driver: Literal["scanimage_file"]
    pattern: str = Field(min_length=1)
    fields: tuple[str, ...] | None = Field(
        None, min_length=1, description="names of ScanImage's ROIs: plane 0, 1, ...; null: all of them, in its order"
    )
    um_per_px: float | None = Field(None, gt=0, description="null: as the file says")


class ThorImageMicroscope(Strict):
    """ThorImage, by the raw file that a streaming acquisition is writing: no change on its side.

    `folder` is the one ThorImage saves in: the newest raw file in it, or in the folders in it, is followed, then each
    that comes after it.
    """

    driver: Literal["thorimage"]
    folder: str = Field(min_length=1)
    channels: tuple[Annotated[int, Field(ge=0, le=15)], ...] | None = Field(
        None, min_length=1, description="in the raw file, in order; null: those that Experiment.xml enables"
    )
    um_per_px: float | None = Field(None, gt=0, description="null: as Experiment.xml says")


class ScanboxMicroscope(Strict):
    """Scanbox, by the file that it shares with one reader (`mmap` in scanbox_config); no other plug-in may run."""

    driver: Literal["scanbox"]
    mmap_file: str = Field(min_length=1, description="scanbox.mmap, in the folder mmap of Scanbox")
    frame_rate_hz: float = Field(gt=0, le=1000, description="as Scanbox shows it; all planes of a volume are counted")
    channels: tuple[Literal[0, 1], ...] = Field((0,), min_length=1, description="0 is A (green), 1 is B (red)")
    column_major: bool = Field(True, description="false where the picture lies on its side")
    inverted: bool = Field(True, description="Scanbox keeps 65,535 less the light; false where dark and bright change")
    um_per_px: float | None = Field(None, gt=0)


class PrairieViewMicroscope(Strict):
    """Prairie View on this computer, by its script commands and raw data stream. The person starts the scan.

    `channels` are those that are switched on, in order. `reversed_lines`: look at a picture; where every other line is
    mirrored take the other value. `ring_frames` is what Prairie View keeps for us while this program is busy.
    """

    driver: Literal["prairieview"]
    host: str = "127.0.0.1"
    port: int = Field(1236, ge=1, le=65535)
    password: str = Field("", description="of Edit Scripts in Prairie View; empty: none")
    frame_rate_hz: float | None = Field(None, gt=0, le=1000, description="null: as Prairie View says (framePeriod)")
    channels: tuple[Annotated[int, Field(ge=0, le=7)], ...] = Field((0,), min_length=1)
    n_planes: int = Field(1, ge=1, le=16)
    n_flyback: int = Field(0, ge=0, le=16)
    offset: int = Field(8192, ge=0, le=32767, description="counts of darkness; 8,192 of resonant scanners")
    reversed_lines: Literal["none", "even", "odd"] = "odd"
    ring_frames: int = Field(100, ge=4, le=65535)
    dma_buffer_ms: int | None = Field(100, ge=10, le=10_000, description="null: leave Prairie View's buffers alone")
    poll_ms: float = Field(2.0, ge=0.5, le=100)
    um_per_px: float | None = Field(None, gt=0, description="null: as Prairie View says")


VendorMicroscope = (
    MicroManagerMicroscope
    | ScanImageMicroscope
    | ScanImageFile
    | ThorImageMicroscope
    | ScanboxMicroscope
    | PrairieViewMicroscope
)
"""Every microscope that another company's program stands before."""
