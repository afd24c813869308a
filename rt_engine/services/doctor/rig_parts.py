"""Microscope, outputs, inputs, protocol and limits of a rig, looked at without moving anything."""

from __future__ import annotations

import datetime
import importlib.util
import time
from pathlib import Path

from drivers.microscopes.stream import StreamMicroscope as Stream
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.devices import Microscope
from rt_engine.interfaces.errors import SpikeloopError
from rt_engine.interfaces.findings import Examinable, Finding, Verdict, failed, passed
from rt_engine.interfaces.microscope_config import MicroManagerMicroscope, ScanImageFile, ScanImageMicroscope
from rt_engine.interfaces.output_config import RealOutput
from rt_engine.interfaces.plugin_config import PluginMicroscope
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig, StreamMicroscope, VirtualMicroscope
from rt_engine.services.interlock_setup import make_output
from rt_engine.services.plugins import plugin_microscope

_OLD_DAYS = 90
_LOOK_S = 0.02
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
        return [_silent_or_not(Stream(config, (0,), 0), config.endpoint, "start the program that sends")]
    if isinstance(config, ScanImageMicroscope):
        from drivers.microscopes.scanimage.microscope import ScanImageMicroscope as Driver

        where = f"{config.host}:{config.port}"
        remedy = "add spikeloop_frames to ScanImage's user functions, and start to focus or grab"
        return [_silent_or_not(Driver(config, MonotonicClock()), where, remedy)]
    if isinstance(config, ScanImageFile):
        from drivers.microscopes.scanimage.file_microscope import ScanImageFileMicroscope

        driver = ScanImageFileMicroscope(config, MonotonicClock())
        return [_silent_or_not(driver, config.pattern, "let ScanImage grab with logging on, into that folder")]
    if isinstance(config, MicroManagerMicroscope):
        return [_micromanager(config)]
    return [_plugin(config)]


def _silent_or_not(driver: Microscope, where: str, remedy: str) -> Finding:
    """Whether frames come at all, within two seconds."""
    try:
        for _ in range(20):
            if driver.open() is not None:
                return passed("microscope", f"frames come from {where}")
            time.sleep(_LOOK_S)
    except SpikeloopError as error:
        return failed("microscope", error, _RUN_FAILS)
    finally:
        driver.stop()
        driver.close()
    return Finding(Verdict.WARN, "microscope", f"{where} is silent", "no frame came within two seconds", remedy)


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


def outputs(rig: RigConfig) -> list[Finding]:
    """Every output: its device, its power table, and what keeps its light safe. None is opened."""
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
        found.append(_power(part, config))
    if not rig.all_outputs_virtual:
        found.append(_stop_line(rig))
    return found


def _power(part: str, config: RealOutput) -> Finding:
    power = config.power
    if power is None:
        meaning = "nobody knows how much light a command is; only --dry-run takes it"
        return Finding(Verdict.FAIL, part, "not calibrated", meaning, "spikeloop calibrate-power RIG OUTPUT")
    age_days = (datetime.date.today() - power.date).days
    text = f"power measured {power.date} by {power.person}, up to {config.highest_mw:g} mW"
    if age_days > _OLD_DAYS:
        meaning = f"{age_days} days old: alignment and lasers change"
        return Finding(Verdict.WARN, part, text, meaning, "measure again: spikeloop calibrate-power RIG OUTPUT")
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
