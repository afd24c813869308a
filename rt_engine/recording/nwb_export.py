"""A session becomes an NWB file: the archive that others read with `pynwb` alone."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import h5py
import yaml
from pynwb import NWBHDF5IO, NWBFile
from pynwb.base import ProcessingModule
from pynwb.device import Device
from pynwb.file import Subject

from rt_engine.interfaces.errors import RecordingError
from rt_engine.interfaces.hdf5_reason import hdf5_reason
from rt_engine.recording.frame_tiff import ROOM_REMEDY, write_frame_tiff
from rt_engine.recording.nwb_behaviour import add_behaviour
from rt_engine.recording.nwb_imaging import (
    FrameTimes,
    Progress,
    add_cells,
    add_events,
    add_frames,
    add_imaging_plane,
    add_later_cells,
    add_traces,
    frame_times,
    planes_and_channels,
)
from rt_engine.recording.nwb_stimulation import add_decisions, add_light
from rt_engine.recording.nwb_time import SessionTime, session_time
from rt_engine.recording.reader import Session, read_config
from rt_engine.recording.summary import Analysis, analyse, frame_period_s

_SPARE_BYTES = 32 << 20
"""Export ends before the disk is full: HDF5 that meets a full disk ends the whole process when it closes the file."""
_SCARCE = 10
_CACHE_BYTES = 1 << 20
"""Of each dataset, in memory."""


class Frames(StrEnum):
    """Where the frames go."""

    INTERNAL = "internal"
    EXTERNAL = "external"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class NwbPlan:
    """What to write.

    Attributes
    ----------
    target : Path
        File to write; it must not exist.
    frames : Frames
        Inside the file, in a TIFF beside it for each plane and channel, or left out.
    compress : bool
        gzip 1 with shuffle: about 1.6 times smaller, seven times slower.
    """

    target: Path
    frames: Frames = Frames.INTERNAL
    compress: bool = False


def export_nwb(session: Session, plan: NwbPlan, progress: Progress) -> dict[str, Any]:
    """Write a session as NWB; memory does not grow with the frames.

    Parameters
    ----------
    session : Session
    plan : NwbPlan
    progress : callable
        Told the stage and the fraction done, 0 to 1.

    Returns
    -------
    dict
        What was written: counts, by kind.

    Raises
    ------
    RecordingError
        There is no journal, the target exists, or it cannot be written.
    """
    if plan.target.exists():
        raise RecordingError(f"{plan.target} exists", "give another name with -o, or delete it")
    partial = plan.target.with_suffix(".partial.nwb")
    progress("reading", 0.0)
    beside: list[Path] = []
    try:
        partial.unlink(missing_ok=True)
        with h5py.File(partial, "w", rdcc_nbytes=_CACHE_BYTES) as file:
            writer = _Export(session, plan, _while_there_is_room(file, progress), beside)
            with NWBHDF5IO(file=file, mode="w") as nwb:
                nwb.write(writer.nwb)
        partial.rename(plan.target)
    except OSError as error:
        _remove(partial, *beside)
        raise RecordingError(f"{plan.target}: cannot be written: {hdf5_reason(error)}", ROOM_REMEDY) from error
    except BaseException:
        _remove(partial, *beside)
        raise
    return writer.counts


def _while_there_is_room(file: h5py.File, progress: Progress) -> Progress:
    """The same, which those who write call again and again, and which stops them in time."""
    folder = Path(file.filename).parent

    def told(stage: str, done: float) -> None:
        if shutil.disk_usage(folder).free < _SCARCE * _SPARE_BYTES:
            file.flush()  # what waits in memory needs room, too
            if shutil.disk_usage(folder).free < _SPARE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        progress(stage, done)

    return told


def _remove(*paths: Path) -> None:
    """Half a file is worth nothing, and would stand in the way of the next attempt."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


class _Export:
    """Builds the file in memory, with data that is read while it is written."""

    def __init__(self, session: Session, plan: NwbPlan, progress: Progress, beside: list[Path]) -> None:
        """`beside` takes every file that is written beside the target."""
        self._session, self._plan, self._progress, self._beside = session, plan, progress, beside
        self._config = read_config(session)
        self._time = session_time(session)
        self._analysis: Analysis = analyse(session)
        self.counts: dict[str, Any] = {"frames": 0, "cells": 0, "rows": 0, "events": 0}
        self.nwb = self._file(self._time)
        self._add_subject()
        device = self._add_microscope()
        module = self.nwb.create_processing_module("ophys", "Cells, their traces, and the spikes inferred from them.")
        for plane in self._planes():
            self._add_plane(device, module, plane)
        tables = self._analysis.tables
        add_light(self.nwb, self._config, tables, self._time)
        add_decisions(self.nwb, tables, self._time)
        add_behaviour(self.nwb, session, self._time, progress)
        self.counts |= {"decisions": len(tables.decisions), "pulses": len(tables.lights)}
        progress("reading", 1.0)

    def _file(self, time: SessionTime) -> NWBFile:
        header = time.header
        replay = self._config.get("replay") or {}
        what = f"Closed-loop calcium imaging with rig {header.rig}, protocol {header.protocol or 'none'}."
        if replay.get("what_would_have_happened"):
            what = f"Not an experiment: what would have happened, with {'; '.join(replay['differs'])}. {what}"
        experiment = (self._config.get("rig") or {}).get("experiment") or {}
        generated = [[name, version] for name, version in header.versions.items() if name not in ("python", "platform")]
        return NWBFile(
            session_description=what,
            identifier=f"{header.session}-{header.boot_id}",
            session_start_time=time.start,
            session_id=header.session,
            experimenter=list(experiment.get("experimenter") or ()) or None,
            institution=experiment.get("institution"),
            lab=experiment.get("lab"),
            experiment_description=experiment.get("description") or what,
            protocol=header.protocol,
            keywords=["calcium imaging", "closed loop", "optogenetics", "spike inference"],
            notes=yaml.safe_dump(
                self._config | {"git_hash": header.git_hash} | self._missing(), sort_keys=False, allow_unicode=True
            ),
            was_generated_by=generated or None,
        )

    def _missing(self) -> dict[str, Any]:
        """What is not in the session any more; nothing of a complete one."""
        session = self._session
        if session.is_complete:
            return {}
        recovery = session.recovery
        damage = [*map(str, session.damage), *(recovery.damage if recovery is not None else ())]
        missing: dict[str, Any] = {"complete": False, "lost_messages": session.lost, "damage": damage}
        if recovery is not None:
            missing |= {"reaches_until_utc": recovery.reaches_until_utc, "reaches_s": recovery.reaches_s}
        return {"missing": missing}

    def _add_subject(self) -> None:
        animal = (self._config.get("rig") or {}).get("animal") or {}
        facts = {name: animal.get(name) for name in ("species", "sex", "age", "genotype", "strain", "description")}
        subject = self._time.header.subject
        self.counts["subject"] = subject is not None or any(facts.values())
        if not self.counts["subject"]:
            return
        weight_kg = animal.get("weight_kg")
        self.nwb.subject = Subject(
            subject_id=subject or f"of rig {self._time.header.rig}",
            weight=None if weight_kg is None else f"{weight_kg} kg",
            **facts,
        )

    def _add_microscope(self) -> Device:
        microscope = (self._config.get("rig") or {}).get("microscope") or {}
        driver = microscope.get("driver", "unknown")
        device = Device(name="microscope", description=f"spikeloop driver {driver}")
        self.nwb.add_device(device)
        return device

    def _planes(self) -> list[int]:
        return sorted(set(self._analysis.calibrations) | set(self._analysis.tables.planes))

    def _add_plane(self, device: Device, module: ProcessingModule, plane: int) -> None:
        calibration = self._analysis.calibrations.get(plane)
        period_s = frame_period_s(self._analysis.tables, calibration)
        rate_hz = calibration.frame_rate_hz if calibration is not None else 1 / period_s if period_s else float("nan")
        imaging = add_imaging_plane(self.nwb, device, self._config, calibration, plane, rate_hz)
        if self._plan.frames is not Frames.NONE:
            for where in planes_and_channels(self._session):
                if where[0] == plane:
                    self._add_frames(imaging, where)
        if calibration is None or not calibration.n_rois:
            return
        cells = add_cells(module, imaging, calibration)
        tables = self._analysis.tables
        n_later = add_later_cells(cells, tables.rois.get(plane), tables.footprints.get(plane))
        self.counts["cells"] += calibration.n_rois + n_later
        self.counts["rows"] += add_traces(module, self._session, self._time, cells, plane, self._progress)
        self.counts["events"] += add_events(module, self._session, self._time, cells, plane)

    def _add_frames(self, imaging: Any, where: tuple[int, int]) -> None:
        times: FrameTimes = frame_times(self._session, self._time, *where)
        if not times.t_s:
            return
        external = None
        if self._plan.frames is Frames.EXTERNAL:
            external = self._plan.target.with_name(f"{self._plan.target.stem}_plane{where[0]}_channel{where[1]}.tif")
            if not external.exists():
                self._beside.append(external)
            write_frame_tiff(self._session, external, where, len(times.t_s), self._progress)
        add_frames(
            self.nwb, self._session, imaging, times, where, external,
            compress=self._plan.compress, progress=self._progress,
        )  # fmt: skip
        self.counts["frames"] += len(times.t_s)
