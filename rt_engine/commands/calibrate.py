"""`spikeloop calibrate`: a recording becomes a calibration file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, add_movie_options, new_command, not_negative
from rt_engine.interfaces.errors import ConfigError, ServiceError

if TYPE_CHECKING:
    from rt_engine.interfaces.calibration import Calibration
    from rt_engine.models.carry_over import Heritage
    from rt_engine.services.calibration_job import CalibrationJob
    from rt_engine.services.run_view import RunView


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop calibrate`."""
    parser = new_command(
        commands,
        "calibrate",
        "Baseline recording to template, cells, noise, kernels and thresholds.",
        "spikeloop calibrate movie.tif --frame-rate-hz 15 --indicator GCaMP6s -o calibration.h5",
    )
    parser.add_argument("source", metavar="MOVIE_OR_SESSION")
    add_movie_options(parser)
    parser.add_argument(
        "--rois",
        metavar="FILE",
        help="your cells: label image (TIFF, .npy), ImageJ .roi or .zip, suite2p stat.npy, CaImAn .hdf5, NWB",
    )
    parser.add_argument("--from", dest="old", metavar="OLD_CAL", help="find the cells of an older calibration again")
    parser.add_argument("--yes", action="store_true", help="with --from: take what was found again without asking")
    parser.add_argument(
        "--registration-channel", type=not_negative, metavar="N", help="structural channel that tells the movement"
    )
    parser.add_argument("--indicator", metavar="NAME", help="calcium indicator (default jGCaMP8m, or the session's)")
    parser.add_argument("-o", "--output", metavar="CAL", required=True, help="file to write (.h5), a .png beside it")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """A recording becomes a calibration file."""
    from rt_engine.services.calibration_job import make_calibration, write_calibration
    from rt_engine.services.run_view import RunView

    target = Path(arguments.output)
    heritage = _heritage(arguments)
    if not target.parent.is_dir():
        raise ConfigError("there is no such folder", "make it first", file=str(target.parent))
    if target.with_suffix(".png") == target:
        raise ConfigError("is the name of the picture", "end the calibration's name in .h5", file=str(target))
    view = RunView()
    job = _job(arguments, target, heritage, view)
    calibrations: list[Calibration] = []
    carried: dict[int, dict[str, Any]] = {}
    for plane in job.planes:
        calibration = make_calibration(job, view.progress, view.say, heritage.get(plane), plane=plane)
        view.end_progress()
        if heritage:
            figures = _consent(arguments, heritage[plane], calibration, _beside(job, plane, target), view)
            if figures is None:
                return 1
            carried[plane] = figures
        calibrations.append(calibration)
    write_calibration(target, calibrations)
    told = [_tell(job, one, _beside(job, one.plane, target), view) for one in calibrations]
    view.say(f"calibration: {target}")
    told = [figures | carried.get(one.plane, {}) for one, figures in zip(calibrations, told, strict=True)]
    if len(told) == 1:
        return write_json(arguments, told[0])
    n_rois = sum(one.n_rois for one in calibrations)
    view.say(f"{n_rois} cells in {len(calibrations)} planes")
    planes = {str(one.plane): figures for one, figures in zip(calibrations, told, strict=True)}
    return write_json(arguments, {"n_rois": n_rois, "planes": planes})


def _beside(job: CalibrationJob, plane: int, target: Path) -> Path:
    """`target`, or where there are several planes the same with the plane in its name."""
    return target if len(job.planes) == 1 else target.with_name(f"{target.stem}.plane{plane}{target.suffix}")


def _job(arguments: argparse.Namespace, target: Path, heritage: dict[int, Heritage], view: RunView) -> CalibrationJob:
    """What is to be calibrated: of a session its planes and channel, of a movie all planes, unless said otherwise."""
    from drivers.microscopes.movie_file import MovieRequest, is_movie_folder
    from rt_engine.commands.start_run import rig_of_session
    from rt_engine.interfaces.service_config import InferenceConfig
    from rt_engine.models.indicators import indicator
    from rt_engine.services.calibration_job import CalibrationJob
    from rt_engine.services.frame_sources import planes_of_movie

    source = Path(arguments.source)
    channel = arguments.channel or 0
    structural = arguments.registration_channel
    inference, stated = InferenceConfig(), next((one.old.indicator for one in heritage.values()), None)
    if source.is_dir() and not is_movie_folder(source):
        rig = rig_of_session(source)[0]
        inference, stated, planes = rig.inference, None, rig.planes_inferred
        channel = rig.functional_channel if arguments.channel is None else channel
        structural = rig.registration_channel if structural is None else structural
    else:
        request = MovieRequest(arguments.frame_rate_hz, channel, 0, arguments.axes, arguments.shape)
        planes = planes_of_movie(source, request)
    planes = arguments.plane or planes
    if heritage and (left := [plane for plane in planes if plane not in heritage]):
        if arguments.plane or len(left) == len(planes):
            raise ConfigError(
                f"holds no plane {left[0]}", "choose another with --plane", file=arguments.old, key="--from"
            )
        view.say(f"left out: plane {', '.join(map(str, left))}, which {arguments.old} does not hold")
        planes = tuple(plane for plane in planes if plane in heritage)
    return CalibrationJob(
        source=source,
        target=target,
        frame_rate_hz=arguments.frame_rate_hz,
        channel=channel,
        um_per_px=None,
        adc_max=None,
        offset_counts=None,
        indicator=indicator(arguments.indicator or stated or inference.indicator).name,
        hold_frames=inference.hold_frames,
        false_alarms_per_min=inference.false_alarms_per_min,
        false_event_cost=inference.false_event_cost,
        neuropil_coefficient=inference.neuropil_coefficient,
        max_shift_px=inference.max_shift_px,
        rois=Path(arguments.rois) if arguments.rois else None,
        planes=planes,
        axes=arguments.axes,
        frame_shape=arguments.shape,
        registration_channel=structural,
    )


def _tell(job: CalibrationJob, calibration: Calibration, target: Path, view: RunView) -> dict[str, Any]:
    """Figures of one plane, printed, drawn beside `target`, and returned."""
    from rt_engine.recording.calibration_figure import save_calibration_figure
    from rt_engine.services.calibration_view import cell_figures, overlap_figures, overlap_words, print_calibration

    picture = target.with_suffix(".png")
    figures: dict[str, Any] = {
        "n_rois": calibration.n_rois,
        "n_frames": calibration.n_baseline_frames,
        "provisional": calibration.provisional,
        "median_snr": float(_median(calibration.amplitude_dff / calibration.sigma_dff)),
        "median_expected_detection": float(_median(calibration.expected_detection)),
        **overlap_figures(calibration),
        "cells": cell_figures(calibration),
    }
    print_calibration(calibration, view.console)
    for words in overlap_words(calibration):
        view.say(words)
    of_plane = f"plane {calibration.plane}: " if len(job.planes) > 1 else ""
    view.say(
        f"{of_plane}{calibration.n_rois} cells from {calibration.n_baseline_frames} frames; single spikes: median A/σ "
        f"{figures['median_snr']:.1f}, expected detection {figures['median_expected_detection']:.0%} at "
        f"{calibration.rule}, "
        f"hold {calibration.hold_frames} frame(s)"
    )
    if calibration.provisional:
        view.say("fewer than 3,000 frames: thresholds are provisional")
    try:
        save_calibration_figure(picture, calibration)
    except OSError as error:
        raise ServiceError(f"{picture}: cannot be written: {error.strerror}") from error
    view.say(f"picture: {picture}")
    return figures


def _heritage(arguments: argparse.Namespace) -> dict[int, Heritage]:
    """The older calibration whose cells are looked for, by plane; nothing where none was named.

    Raises
    ------
    ConfigError
        It cannot be read, cells are given as well, or nobody could give consent.
    """
    if not arguments.old:
        return {}
    from rt_engine.interfaces.calibration_planes import load_planes
    from rt_engine.models.carry_over import Heritage
    from rt_engine.services.carry_over_job import require_someone_to_ask

    path = Path(arguments.old)
    if arguments.rois:
        raise ConfigError("finds the cells of an older calibration", "leave out --rois, or --from", key="--from")
    require_someone_to_ask(arguments.yes, path)
    return {plane: Heritage(old) for plane, old in load_planes(path).items()}


def _consent(
    arguments: argparse.Namespace, heritage: Heritage, calibration: Calibration, target: Path, view: RunView
) -> dict[str, Any] | None:
    """Show what became of the older cells; the figures, or None where the person does not take them."""
    from rt_engine.services.carry_over_job import ask, draw, figures_of, tell

    if heritage.result is None:
        return {}
    figures = figures_of(heritage.result, heritage.old, calibration)
    tell(figures, view.say)
    picture = target.with_name(f"{target.stem}-from.png")
    draw(heritage.result, heritage.old, calibration, picture)
    view.say(f"picture: {picture}")
    return figures if arguments.yes or ask(view.say) else None


def _median(values: Any) -> float:
    import numpy as np

    return float(np.median(values)) if len(values) else float("nan")
