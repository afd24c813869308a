"""Drivers of vendors' microscopes: which module each is in, imported only when its rig is run or looked at."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.devices import Microscope
from rt_engine.interfaces.microscope_config import (
    MicroManagerMicroscope,
    PrairieViewMicroscope,
    ScanboxMicroscope,
    ScanImageFile,
    ScanImageMicroscope,
    ThorImageMicroscope,
    VendorMicroscope,
)


class Vendor(NamedTuple):
    """`module` and `name` of the driver; `where` frames come from, and `remedy` where none come."""

    module: str
    name: str
    where: Callable[[Any], str]
    remedy: str


_HERE = "drivers.microscopes."
VENDORS: dict[type, Vendor] = {
    MicroManagerMicroscope: Vendor(
        _HERE + "micromanager.microscope",
        "MicroManagerMicroscope",
        lambda config: config.config_file,
        "close Micro-Manager, and give the .cfg that it starts with",
    ),
    ScanImageMicroscope: Vendor(
        _HERE + "scanimage.microscope",
        "ScanImageMicroscope",
        lambda config: f"{config.host}:{config.port}",
        "add spikeloop_frames to ScanImage's user functions, and start to focus or grab",
    ),
    ScanImageFile: Vendor(
        _HERE + "scanimage.file_microscope",
        "ScanImageFileMicroscope",
        lambda config: config.pattern,
        "let ScanImage grab with logging on, into that folder",
    ),
    ThorImageMicroscope: Vendor(
        _HERE + "thorimage.microscope",
        "ThorImageMicroscope",
        lambda config: config.folder,
        "start a streaming acquisition in ThorImage that saves a raw file into that folder",
    ),
    ScanboxMicroscope: Vendor(
        _HERE + "scanbox.microscope",
        "ScanboxMicroscope",
        lambda config: config.mmap_file,
        "set sbconfig.mmap to 1 in scanbox_config, tick the plug-in box of Scanbox, and start to focus or grab",
    ),
    PrairieViewMicroscope: Vendor(
        _HERE + "prairieview.microscope",
        "PrairieViewMicroscope",
        lambda config: f"{config.host}:{config.port}",
        "start Prairie View on this computer, allow scripts over TCP (Edit Scripts), and begin a scan while this waits",
    ),
}


def vendor_microscope(config: VendorMicroscope, clock: Clock) -> Microscope:
    """The driver of a vendor's microscope; nothing is opened."""
    vendor = VENDORS[type(config)]
    return cast(Microscope, getattr(importlib.import_module(vendor.module), vendor.name)(config, clock))
