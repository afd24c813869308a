"""What each command does; imports the parts it needs when it runs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rt_engine.interfaces.control import Role
from rt_engine.interfaces.errors import ConfigError, ServiceError
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig, VirtualMicroscope, load_rig
from rt_engine.interfaces.shipped import find_rig

if TYPE_CHECKING:
    from rt_engine.interfaces.calibration import Calibration
    from rt_engine.models.carry_over import Heritage
    from rt_engine.services.run_view import RunView

_DEMO_BASELINE_S = 20.0
_REPLAY_BASELINE_S = 120.0


def demo(arguments: argparse.Namespace) -> int:
    """The virtual rig, closed loop, with a short baseline."""
    rig = load_rig(find_rig("virtual_rig"))
    summary = _run(
        rig,
        kind="demo",
        output=arguments.output,
        protocol=rig.protocol,
        baseline_s=_DEMO_BASELINE_S,
        duration_s=arguments.duration,
    )
    return _write_json(arguments, summary)


def run(arguments: argparse.Namespace) -> int:
    """A rig, from baseline to report."""
    rig = load_rig(find_rig(arguments.rig))
    if arguments.subject is not None:
        rig = rig.model_copy(update={"subject": arguments.subject})
    summary = _run(
        rig,
        kind="run",
        output=arguments.output,
        protocol=arguments.protocol or rig.protocol,
        calibration=arguments.calibration,
        baseline_s=arguments.baseline,
        duration_s=arguments.duration,
        dry_run=arguments.dry_run,
    )
    return _write_json(arguments, summary)


def replay(arguments: argparse.Namespace) -> int:
    """Recorded frames through the same engine; every output is virtual."""
    from drivers.microscopes.movie_file import MovieRequest, is_movie_folder

    source = Path(arguments.source)
    calibration, n_frames = arguments.calibration, None
    if source.is_dir() and not is_movie_folder(source):
        rig, protocol = _rig_of_session(source)
        calibration = calibration or str(source / "calibration.h5")
    else:
        from rt_engine.interfaces.calibration import load_calibration
        from rt_engine.services.frame_sources import movie_source

        rig = load_rig(find_rig("virtual_rig"))
        protocol = rig.protocol
        movie = movie_source(
            source,
            MovieRequest(arguments.frame_rate_hz, arguments.channel, arguments.plane, arguments.axes, arguments.shape),
        )
        n_frames = movie.n_frames
        if calibration:
            load_calibration(Path(calibration)).require_fits(
                movie.n_lines,
                movie.pixels_per_line,
                calibration,
                um_per_px=movie.um_per_px,
                indicator=arguments.indicator,
                plane=arguments.plane,
                channel=arguments.channel,
            )
    microscope = ReplayMicroscope(
        driver="replay",
        path=str(source),
        frame_rate_hz=arguments.frame_rate_hz,
        channel=arguments.channel,
        plane=arguments.plane,
        axes=arguments.axes,
        frame_shape=arguments.shape,
        speed=arguments.speed,
    )
    update: dict[str, Any] = {"name": "replay", "microscope": microscope}
    if arguments.indicator:
        update["inference"] = rig.inference.model_copy(update={"indicator": arguments.indicator})
    rig = rig.model_copy(update=update)
    summary = _run(
        rig,
        kind="replay",
        output=arguments.output,
        protocol=arguments.protocol or protocol,
        calibration=calibration,
        baseline_s=_REPLAY_BASELINE_S,
        baseline_frames=None if n_frames is None else n_frames // 2,
        duration_s=None,
    )
    return _write_json(arguments, summary)


def calibrate(arguments: argparse.Namespace) -> int:
    """A recording becomes a calibration file."""
    from drivers.microscopes.movie_file import is_movie_folder
    from rt_engine.interfaces.rig_config import InferenceConfig
    from rt_engine.models.indicators import indicator
    from rt_engine.recording.calibration_figure import save_calibration_figure
    from rt_engine.services.calibration_job import CalibrationJob, make_calibration, write_calibration
    from rt_engine.services.calibration_view import cell_figures, print_calibration
    from rt_engine.services.run_view import RunView

    source, target = Path(arguments.source), Path(arguments.output)
    heritage = _heritage(arguments)
    is_session = source.is_dir() and not is_movie_folder(source)
    picture = target.with_suffix(".png")
    if not target.parent.is_dir():
        raise ConfigError("there is no such folder", "make it first", file=str(target.parent))
    if picture == target:
        raise ConfigError("is the name of the picture", "end the calibration's name in .h5", file=str(target))
    inference = _rig_of_session(source)[0].inference if is_session else InferenceConfig()
    stated = heritage.old.indicator if heritage is not None and not is_session else None
    view = RunView()
    job = CalibrationJob(
        source=source,
        target=target,
        frame_rate_hz=arguments.frame_rate_hz,
        channel=arguments.channel,
        um_per_px=None,
        adc_max=None,
        offset_counts=None,
        indicator=indicator(arguments.indicator or stated or inference.indicator).name,
        hold_frames=inference.hold_frames,
        false_alarms_per_min=inference.false_alarms_per_min,
        neuropil_coefficient=inference.neuropil_coefficient,
        max_shift_px=inference.max_shift_px,
        rois=Path(arguments.rois) if arguments.rois else None,
        plane=arguments.plane,
        axes=arguments.axes,
        frame_shape=arguments.shape,
    )
    calibration = make_calibration(job, view.progress, view.say, heritage)
    view.end_progress()
    carried = {} if heritage is None else _consent(arguments, heritage, calibration, target, view)
    if carried is None:
        return 1
    write_calibration(target, calibration)
    figures: dict[str, Any] = {
        **carried,
        "n_rois": calibration.n_rois,
        "n_frames": calibration.n_baseline_frames,
        "provisional": calibration.provisional,
        "median_snr": float(_median(calibration.amplitude_dff / calibration.sigma_dff)),
        "median_expected_detection": float(_median(calibration.expected_detection)),
        "cells": cell_figures(calibration),
    }
    print_calibration(calibration, view.console)
    view.say(
        f"{calibration.n_rois} cells from {calibration.n_baseline_frames} frames; single spikes: median A/σ "
        f"{figures['median_snr']:.1f}, expected detection {figures['median_expected_detection']:.0%} at "
        f"{calibration.false_alarms_per_min:g} false events per minute and cell, "
        f"hold {calibration.hold_frames} frame(s)"
    )
    if calibration.provisional:
        view.say("fewer than 3,000 frames: thresholds are provisional")
    try:
        save_calibration_figure(picture, calibration)
    except OSError as error:
        raise ServiceError(f"{picture}: cannot be written: {error.strerror}") from error
    view.say(f"calibration: {target}\npicture: {picture}")
    return _write_json(arguments, figures)


def _heritage(arguments: argparse.Namespace) -> Heritage | None:
    """The older calibration whose cells are looked for, if one was named.

    Raises
    ------
    ConfigError
        It cannot be read, cells are given as well, or nobody could give consent.
    """
    if not arguments.old:
        return None
    from rt_engine.interfaces.calibration import load_calibration
    from rt_engine.models.carry_over import Heritage
    from rt_engine.services.carry_over_job import require_someone_to_ask

    path = Path(arguments.old)
    if arguments.rois:
        raise ConfigError("finds the cells of an older calibration", "leave out --rois, or --from", key="--from")
    require_someone_to_ask(arguments.yes, path)
    return Heritage(load_calibration(path))


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


def infer(arguments: argparse.Namespace) -> int:
    """Traces become spikes, as the live engine would have told them."""
    from rt_engine.services.trace_job import run_inference

    return _write_json(arguments, run_inference(arguments))


def score(arguments: argparse.Namespace) -> int:
    """Accuracy of a method, or of a file of predictions, against electrophysiology."""
    from rt_engine.services.accuracy_job import run_score

    return _write_json(arguments, run_score(arguments))


def bench(arguments: argparse.Namespace) -> int:
    """Kernels, or all from pixels to traces, against the code of others in one run."""
    from rich.console import Console

    if arguments.what == "pixels":
        return _bench_pixels(arguments)

    from rt_engine.bench.kernel_view import figure_path, print_figures, save_figure
    from rt_engine.bench.kernels import Plan, run_kernel_benchmark
    from rt_engine.services.run_view import RunView

    target = figure_path(arguments.output) if arguments.output else None
    view = RunView()
    figures = run_kernel_benchmark(Plan(), view.progress)
    view.end_progress()
    print_figures(figures, Console(highlight=False))
    if target is not None:
        save_figure(figures, target)
        view.say(f"figure: {target}")
    return _write_json(arguments, figures)


def _bench_pixels(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from rt_engine.bench.pixels import N_ROUNDS, print_rows, run_pixel_benchmark
    from rt_engine.services.run_view import RunView

    if arguments.output:
        raise ConfigError("draws `bench kernels` only; use --json here", key="--output")
    view = RunView()
    figures = run_pixel_benchmark(N_ROUNDS, view.progress)
    view.end_progress()
    print_rows(figures, Console(highlight=False))
    return _write_json(arguments, figures)


def ctl(arguments: argparse.Namespace) -> int:
    """One command to a running rig."""
    import zmq

    from rt_engine.transport.control import ControlClient

    ports = load_rig(find_rig(arguments.rig)).ports
    text = " ".join(arguments.text)
    names = {"trip": "text", "reset": "reason", "arm": "operator", "disarm": "reason"}
    args = {names[arguments.cmd]: text} if arguments.cmd in names and text else {}
    if arguments.cmd == "reset" and not text:
        raise ConfigError("a reset needs a reason", 'spikeloop ctl reset "why light may be allowed again"')
    if arguments.cmd == "arm" and not text:
        raise ConfigError("arming needs the name of the operator", "spikeloop ctl arm NAME")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    port = "stimulation_control" if arguments.cmd == "trip" else "control"
    client = ControlClient(context, ports.endpoint(port), Role.OPERATOR)
    try:
        result = client.request(arguments.cmd, args)
    finally:
        client.close()
        context.destroy(linger=0)
    sys.stdout.write(json.dumps(result, indent=1, default=str) + "\n")
    return _write_json(arguments, result)


def simulate(arguments: argparse.Namespace) -> int:
    """A movie of the virtual rig, with its truth beside it."""
    from drivers.virtual_rig.simulate import simulate as write_movie
    from rt_engine.services.run_view import RunView

    path = find_rig(arguments.rig)
    microscope = load_rig(path).microscope
    if not isinstance(microscope, VirtualMicroscope):
        raise ConfigError("only a virtual rig can be simulated", "use virtual_rig", file=str(path), key="microscope")
    target = Path(arguments.output)
    if not target.parent.is_dir():
        raise ConfigError("there is no such folder", "make it first", file=str(target.parent))
    view = RunView()
    truth = write_movie(
        microscope,
        arguments.duration,
        target,
        arguments.seed,
        lambda done, total: view.progress("frames", done / total),
    )
    view.end_progress()
    view.say(f"movie: {target}\ntruth: {truth}")
    return 0


def report(arguments: argparse.Namespace) -> int:
    """The report of a session, written again."""
    from rt_engine.recording.reader import open_session
    from rt_engine.recording.report import write_report

    folder = open_session(Path(arguments.session)).folder
    sys.stdout.write(f"report: {write_report(folder)}\n")
    return 0


def recover(arguments: argparse.Namespace) -> int:
    """A crashed session made whole."""
    from rt_engine.recording.recover import recover as make_whole
    from rt_engine.safety.wal import read_wal
    from rt_engine.services.run_view import RunView

    folder, view = Path(arguments.session), RunView()
    logs = [read_wal(path) for path in sorted(folder.glob("stim_*.wal"))]
    result = make_whole(folder, view.progress, [record for log in logs for record in log.records])
    view.end_progress()
    view.say(str(result))
    return 0


def _run(
    rig: RigConfig,
    *,
    kind: str,
    output: str | None,
    protocol: str | None,
    baseline_s: float,
    duration_s: float | None,
    calibration: str | None = None,
    baseline_frames: int | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    from protocols.load import check_against_limits, find_protocol, load_protocol
    from rt_engine.interfaces.calibration import load_calibration
    from rt_engine.models.indicators import indicator
    from rt_engine.services.run_view import RunView
    from rt_engine.services.session_folder import make_session_folder
    from rt_engine.services.session_run import RunPlan, SessionRun

    indicator(rig.inference.indicator)
    protocol_path = find_protocol(protocol) if protocol else None
    if protocol_path is not None:
        limits = {name: one.limits for name, one in rig.outputs.items()}
        check_against_limits(load_protocol(protocol_path), limits, str(protocol_path))
    calibration_path = Path(calibration) if calibration else None
    if calibration_path is not None:
        _require_fits(rig, load_calibration(calibration_path), calibration_path)
    plan = RunPlan(
        rig=rig,
        kind=kind,
        folder=make_session_folder(output, rig.name, rig.recording.min_free_mb),
        protocol=protocol_path,
        calibration=calibration_path,
        baseline_s=baseline_s,
        baseline_frames=baseline_frames,
        duration_s=duration_s,
        dry_run=dry_run,
        subject=rig.subject,
    )
    return SessionRun(plan, RunView()).run()


def _require_fits(rig: RigConfig, calibration: Calibration, path: Path) -> None:
    """Refuse a calibration of another size, zoom, indicator, plane or channel, as far as the rig says before it opens.

    Raises
    ------
    CalibrationError
        It does not fit.
    """
    microscope = rig.microscope
    virtual = microscope if isinstance(microscope, VirtualMicroscope) else None
    replayed = microscope if isinstance(microscope, ReplayMicroscope) else None
    is_movie = replayed is not None and not (Path(replayed.path) / "config.yaml").is_file()
    calibration.require_fits(
        virtual.n_lines if virtual else None,
        virtual.pixels_per_line if virtual else None,
        str(path),
        um_per_px=microscope.um_per_px,
        indicator=None if is_movie else rig.inference.indicator,
        plane=replayed.plane if replayed else None,
        channel=replayed.channel if replayed else None,
    )


def _rig_of_session(folder: Path) -> tuple[RigConfig, str | None]:
    """Rig and protocol that a session was recorded with.

    Raises
    ------
    ConfigError
        The folder holds no session.
    """
    from pydantic import ValidationError

    from rt_engine.interfaces.rig_config import config_error, read_yaml

    path = folder / "config.yaml"
    if not path.is_file():
        raise ConfigError("is no session folder", "it holds no config.yaml", file=str(folder))
    config = read_yaml(path)
    try:
        return RigConfig.model_validate(config.get("rig")), config.get("protocol")
    except ValidationError as error:
        raise config_error(str(path), error) from error


def _write_json(arguments: argparse.Namespace, figures: dict[str, Any]) -> int:
    if arguments.json:
        try:
            Path(arguments.json).write_text(json.dumps(figures, indent=1, default=float), encoding="utf-8")
        except OSError as error:
            raise ServiceError(f"{arguments.json}: cannot be written: {error.strerror}") from error
    return 0


def _median(values: Any) -> float:
    import numpy as np

    return float(np.median(values)) if len(values) else float("nan")
