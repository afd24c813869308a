"""Drivers of microscopes: which module each is in, imported only when its rig is run or looked at."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

from drivers.microscopes.stream import StreamMicroscope
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.devices import Microscope
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.microscope_config import (
    MicroManagerMicroscope,
    PrairieViewMicroscope,
    ScanboxMicroscope,
    ScanImageFile,
    ScanImageMicroscope,
    ThorImageMicroscope,
    VendorMicroscope,
)
from rt_engine.interfaces.plugin_config import PluginMicroscope
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig, VirtualMicroscope
from rt_engine.interfaces.stream_config import StreamMicroscope as StreamConfig
from rt_engine.services.plugins import plugin_microscope


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


def make_microscope(rig: RigConfig, clock: Clock) -> Microscope:
    """Driver of the rig's microscope; imports only the one that is asked for."""
    config, planes = rig.microscope, rig.planes_inferred
    if isinstance(config, StreamConfig):
        return StreamMicroscope(config, planes, rig.functional_channel, keys=rig.keys, clock=clock)
    if isinstance(config, ReplayMicroscope):
        from drivers.microscopes.movie_file import is_movie_folder
        from drivers.microscopes.movie_volume import open_volume
        from drivers.microscopes.replay import ReplayMicroscope as MovieReplay

        if Path(config.path).is_dir() and not is_movie_folder(config.path):
            from drivers.microscopes.session_replay import SessionReplay

            return SessionReplay(config, clock, planes=planes, structural_channel=rig.registration_channel)
        if rig.registration_channel is not None:
            raise ConfigError(
                "a movie is replayed with one channel", "leave out registration_channel", file=config.path
            )
        asked = config.model_dump(include={"frame_rate_hz", "channel", "axes", "frame_shape"})
        return MovieReplay(config, clock, lambda path: open_volume(path, planes, **asked), planes=planes)
    if isinstance(config, VendorMicroscope):
        return vendor_microscope(config, clock)
    if isinstance(config, PluginMicroscope):
        return plugin_microscope(config, clock)
    from drivers.microscopes.virtual import VirtualMicroscope

    return VirtualMicroscope(config, clock)


def message_bytes(rig: RigConfig) -> int | None:
    """Bytes of one message of lines, as far as the rig file tells; None where only the microscope knows."""
    microscope = rig.microscope
    if not isinstance(microscope, VirtualMicroscope):
        return None
    return 2 * (microscope.strip_lines or microscope.n_lines) * microscope.pixels_per_line
