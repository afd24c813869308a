"""Calibration as a job of its own process, so that the rig goes on while it works."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from rt_engine.interfaces.calibration import Calibration, save_calibration
from rt_engine.interfaces.errors import CalibrationError, SpikeloopError

if TYPE_CHECKING:
    from rt_engine.models.carry_over import Heritage

Progress = Callable[[str, float], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CalibrationJob:
    """From `source` (session folder or movie) to the file `target`; None where the source shall say."""

    source: Path
    target: Path
    frame_rate_hz: float | None
    channel: int
    um_per_px: float | None
    adc_max: int | None
    offset_counts: float | None
    indicator: str
    hold_frames: int | None
    false_alarms_per_min: float
    neuropil_coefficient: float | None
    max_shift_px: float
    rois: Path | None = None
    plane: int = 0
    axes: str | None = None
    frame_shape: tuple[int, int] | None = None
    last_frame: int | None = None
    n_frames: int | None = None


def run_calibration(job: CalibrationJob, progress: Progress, say: Say = lambda text: None) -> Calibration:
    """Calibrate in this process, and write the file; `say` as in `make_calibration`.

    Raises
    ------
    CalibrationError, MovieError
        The recording cannot be used.
    """
    calibration = make_calibration(job, progress, say)
    write_calibration(job.target, calibration)
    return calibration


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write the file.

    Raises
    ------
    CalibrationError
        It cannot be written.
    """
    try:
        save_calibration(path, calibration)
    except OSError as error:
        raise CalibrationError(f"cannot be written: {error}", "give another path", file=str(path)) from error


def make_calibration(
    job: CalibrationJob, progress: Progress, say: Say = lambda text: None, heritage: Heritage | None = None
) -> Calibration:
    """Calibrate in this process; `say` gets what a person should know: of the cells imported, of the
    first masks and where they are meanwhile, of the candidates that were dropped and why.

    Raises
    ------
    CalibrationError, MovieError
        The recording cannot be used, or is of another field, zoom or indicator than `heritage`.
    """
    from drivers.microscopes.movie_file import MovieRequest, is_movie_folder
    from rt_engine.models.calibrate import calibrate
    from rt_engine.services.first_rois import FirstRois
    from rt_engine.services.frame_sources import movie_source, session_source
    from rt_engine.services.roi_import.read import read_rois

    if job.source.is_dir() and not is_movie_folder(job.source):
        source = session_source(job.source, job.channel, plane=job.plane, until_frame=job.last_frame)
    else:
        asked = MovieRequest(job.frame_rate_hz, job.channel, job.plane, job.axes, job.frame_shape)
        source = movie_source(job.source, asked, job.n_frames)
    rate_hz = job.frame_rate_hz or source.frame_rate_hz
    if rate_hz is None:
        raise CalibrationError("the frame rate is unknown", "give it with --frame-rate-hz", file=str(job.source))
    if heritage is not None:
        heritage.old.require_fits(
            source.n_lines,
            source.pixels_per_line,
            str(job.source),
            um_per_px=job.um_per_px or source.um_per_px,
            indicator=job.indicator,
            plane=job.plane,
            channel=job.channel,
        )
    imported = None
    if job.rois is not None:
        imported = read_rois(job.rois, (source.n_lines, source.pixels_per_line), job.plane)
        for remark in imported.remarks:
            say(remark)
    first = FirstRois(job.target, (source.n_lines, source.pixels_per_line), say)
    work = functools.partial(
        calibrate,
        source.open_frames,
        frame_rate_hz=rate_hz,
        indicator=job.indicator,
        n_frames=source.n_frames,
        hold_frames=job.hold_frames,
        false_alarms_per_min=job.false_alarms_per_min,
        neuropil_coefficient=job.neuropil_coefficient,
        um_per_px=job.um_per_px or source.um_per_px,
        offset_counts=job.offset_counts if job.offset_counts is not None else source.offset_counts,
        adc_max=job.adc_max or source.adc_max,
        rois=imported.masks if imported else None,
        heritage=heritage,
        max_shift_px=job.max_shift_px,
        progress=progress,
        say=say,
        first_rois=first.write,
        plane=job.plane,
        channel=job.channel,
    )
    try:
        return work()
    finally:
        first.remove()


def run_calibration_process(
    job: CalibrationJob, progress: Progress, turn: Callable[[], None], say: Say = lambda text: None
) -> None:
    """Calibrate in a process of its own; `turn` is called all the while, and may raise to end it.

    Raises
    ------
    CalibrationError
        In the words of the other process.
    """
    spawn = multiprocessing.get_context("spawn")
    receiving, sending = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_work, args=(job, sending), name="spikeloop-calibration", daemon=True)
    process.start()
    sending.close()
    try:
        while True:
            turn()
            while receiving.poll(0):
                message = _receive(receiving)
                if message is None:
                    break
                kind, text, value = message
                if kind == "progress":
                    progress(text, value)
                elif kind == "say":
                    say(text)
                elif kind == "done":
                    return
                else:
                    raise CalibrationError(text)
            if not process.is_alive() and not receiving.poll(0):
                raise CalibrationError(f"the calibration process ended with code {process.exitcode}")
    finally:
        if process.is_alive():
            process.join(5)
        if process.is_alive():
            process.kill()
            process.join(5)
        receiving.close()


def _receive(receiving: Connection) -> tuple[str, str, float] | None:
    try:
        kind, text, value = receiving.recv()
    except EOFError:
        return None
    return str(kind), str(text), float(value)


def _work(job: CalibrationJob, sending: Connection) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run_calibration(
            job,
            lambda stage, fraction: sending.send(("progress", stage, fraction)),
            lambda text: sending.send(("say", text, 0.0)),
        )
        sending.send(("done", "", 1.0))
    except SpikeloopError as error:
        sending.send(("failed", str(error), 0.0))
    finally:
        sending.close()
