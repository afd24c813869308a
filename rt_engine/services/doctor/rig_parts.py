"""Microscope, outputs, inputs, protocol and limits of a rig, looked at without moving anything."""

from __future__ import annotations

import datetime
import importlib.util
import time
from pathlib import Path

import numpy as np

from drivers.microscopes.stream import StreamMicroscope as Stream
from drivers.ni.connection import NiConnection
from drivers.ni.examination import examine_marks
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.devices import CountsRejected, Microscope
from rt_engine.interfaces.errors import SpikeloopError
from rt_engine.interfaces.findings import Examinable, Finding, Verdict, failed, passed
from rt_engine.interfaces.microscope_config import MicroManagerMicroscope, VendorMicroscope
from rt_engine.interfaces.output_config import RealOutput
from rt_engine.interfaces.plugin_config import PluginMicroscope
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig, VirtualMicroscope
from rt_engine.interfaces.stream_config import StreamMicroscope
from rt_engine.services.interlock_setup import make_output
from rt_engine.services.microscopes import VENDORS, vendor_microscope
from rt_engine.services.plugins import plugin_microscope

_OLD_DAYS = 90
_LOOK_S = 2.0
_PAUSE_S = 0.02
_RUN_FAILS = "a run of this rig would fail"


def microscope(rig: RigConfig) -> list[Finding]:
    """Whether frames can come."""
    config = rig.microscope
    if isinstance(config, VirtualMicroscope):
        text = f"virtual, {config.n_lines} x {config.pixels_per_line} at {config.frame_rate_hz:g} Hz"
        return [passed("microscope", text)]
    if isinstance(config, ReplayMicroscope):
        if Path(config.path).exists():
            return [passed("microscope", f"replays {config.path}")]
        remedy = "correct microscope.path; it is relative to the folder you start from"
        return [Finding(Verdict.FAIL, "microscope", f"there is no {config.path}", _RUN_FAILS, remedy)]
    if isinstance(config, StreamMicroscope):
        return [_silent_or_not(Stream(config, (0,), 0, keys=rig.keys), config.where, "start the program that sends")]
    if isinstance(config, MicroManagerMicroscope):
        return [_micromanager(config)]
    if isinstance(config, VendorMicroscope):
        vendor = VENDORS[type(config)]
        return [_silent_or_not(vendor_microscope(config, MonotonicClock()), vendor.where(config), vendor.remedy)]
    return [_plugin(config)]


def _silent_or_not(driver: Microscope, where: str, remedy: str) -> Finding:
    """Whether a frame comes, within two seconds: one of now, not one that an old file still holds."""
    give_up_s = time.monotonic() + _LOOK_S
    try:
        geometry = driver.open()
        while geometry is None and time.monotonic() < give_up_s:
            time.sleep(_PAUSE_S)
            geometry = driver.open()
        if geometry is not None:
            buffer = np.zeros((geometry.n_lines, geometry.pixels_per_line), np.dtype("<" + geometry.dtype))
            driver.start()
            while time.monotonic() < give_up_s:
                if driver.read(buffer, _PAUSE_S) is not None:
                    return passed("microscope", f"frames come from {where}, {geometry.in_words()}")
    except SpikeloopError as error:
        return failed("microscope", error, _RUN_FAILS)
    finally:
        driver.stop()
        driver.close()
    why = driver.why if isinstance(driver, CountsRejected) else ""
    meaning = f"no frame came within two seconds: {why}" if why else "no frame came within two seconds"
    return Finding(Verdict.WARN, "microscope", f"{where} is silent", meaning, remedy)


def _micromanager(config: MicroManagerMicroscope) -> Finding:
    """The file and the package; the configuration is not loaded, for that moves what it names."""
    if importlib.util.find_spec("pymmcore") is None:
        remedy = 'pip install "spikeloop[hardware]"'
        return Finding(Verdict.FAIL, "microscope", "the package pymmcore is missing", _RUN_FAILS, remedy)
    if config.config_file != "demo" and not Path(config.config_file).is_file():
        remedy = "give the .cfg that Micro-Manager starts with"
        return Finding(Verdict.FAIL, "microscope", f"there is no file {config.config_file}", _RUN_FAILS, remedy)
    return passed("microscope", f"Micro-Manager, {config.config_file}; not loaded, for that would move devices")


def _plugin(config: PluginMicroscope) -> Finding:
    """Whether a package offers it; it is not opened."""
    try:
        plugin_microscope(config, MonotonicClock())
    except SpikeloopError as error:
        return failed("microscope", error, _RUN_FAILS)
    return passed("microscope", f"{config.name}, of another package; not opened")


def outputs(rig: RigConfig, called: str = "RIG") -> list[Finding]:
    """Every output: its device, its power table, and what keeps its light safe. None is opened.

    Parameters
    ----------
    rig : RigConfig
    called : str
        As the person named the rig: the commands that are advised are to work as they stand.
    """
    asked = f'"{called}"' if " " in called else called
    found = []
    for name, config in rig.outputs.items():
        part = f"output {name}"
        if config.driver == "virtual":
            found.append(passed(part, "virtual: light exists on the wire only"))
            continue
        try:
            driver = make_output(name, config, MonotonicClock(), lambda light: None)
        except SpikeloopError as error:
            found.append(failed(part, error, _RUN_FAILS))
            continue
        if isinstance(driver, Examinable):
            found += driver.examine()
        found.append(_power(part, config, f"spikeloop calibrate-power {asked} {name} -o {name}.power.yaml"))
    if not rig.all_outputs_virtual:
        found.append(_stop_line(rig))
    return found


def marks(rig: RigConfig) -> list[Finding]:
    """The lines that a scope looks at, where there are some. None is driven."""
    config = rig.marks
    if config is None:
        return []
    lines = [line for line in (config.frame_line, config.decision_line) if line is not None]
    return examine_marks(NiConnection("marks", config.device, config.server), lines)


def _power(part: str, config: RealOutput, measure: str) -> Finding:
    power = config.power
    if power is None:
        meaning = "nobody knows how much light a command is; only --dry-run takes it"
        return Finding(Verdict.FAIL, part, "not calibrated", meaning, f"measure it: {measure}")
    age_days = (datetime.date.today() - power.date).days
    text = f"power measured {power.date} by {power.person}, up to {config.highest_mw:g} mW"
    if age_days > _OLD_DAYS:
        meaning = f"{age_days} days old: alignment and lasers change"
        return Finding(Verdict.WARN, part, text, meaning, f"measure again: {measure}")
    return passed(part, text)


def _stop_line(rig: RigConfig) -> Finding:
    if rig.stop_line is not None:
        return passed("stop line", f"read from input {rig.stop_line.line}")
    meaning = "light can be stopped by the program only"
    remedy = "wire a button into the enable circuit, read it by an input, and name that in `stop_line`"
    return Finding(Verdict.WARN, "stop line", "none in this rig", meaning, remedy)


def protocol(rig: RigConfig) -> list[Finding]:
    """Whether the rig's protocol stays within the rig's limits."""
    if rig.protocol is None:
        return [passed("protocol", "none in the rig file")]
    from protocols.checking.check import check_against_rig
    from protocols.load import find_protocol, load_protocol

    try:
        path = find_protocol(rig.protocol)
        check_against_rig(load_protocol(path), rig, str(path))
    except SpikeloopError as error:
        return [failed("protocol", error, _RUN_FAILS)]
    return [passed("protocol", f"{rig.protocol} stays within the limits")]
