"""`spikeloop replay`: recorded frames, or traces, through the same engine; every output is virtual."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, add_movie_options, new_command, positive, speed

if TYPE_CHECKING:
    from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig
    from rt_engine.services.frame_sources import FrameSource

_REPLAY_BASELINE_S = 120.0


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop replay`."""
    parser = new_command(
        commands, "replay", "The same engine over recorded frames.", "spikeloop replay movie.tif --speed max"
    )
    parser.add_argument("source", metavar="SESSION_OR_MOVIE")
    add_movie_options(parser)
    parser.add_argument("--calibration", metavar="C", help="default: the session's own; for a movie, its first half")
    parser.add_argument("--indicator", metavar="NAME", help="for a movie without calibration (default jGCaMP8m)")
    parser.add_argument("--protocol", metavar="P", help="protocol file or name, or none (default: the session's)")
    parser.add_argument(
        "--false-alarms-per-min", type=positive, metavar="X", help="per cell, instead of the calibration's: what if?"
    )
    parser.add_argument(
        "--from",
        dest="starts_from",
        choices=("frames", "traces"),
        help="of a session: its frames, or the traces in its journal (default: frames where all were to be kept, and "
        "traces from where they end)",
    )
    parser.add_argument("--rig", metavar="RIG", default="virtual_rig", help="for a movie: whose limits and ports count")
    parser.add_argument("--speed", type=speed, default=1.0, metavar="N", help="1 real time (default), or max")
    parser.add_argument("--output", metavar="DIR", help="session folder (default sessions/<UTC time>-replay)")
    parser.add_argument(
        "--own-ports", action="store_true", help="on free ports of this computer, so that several replays run at once"
    )
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Recorded frames through the same engine; every output is virtual."""
    from drivers.microscopes.movie_file import is_movie_folder

    source = Path(arguments.source)
    if source.is_dir() and not is_movie_folder(source):
        return _replay_session(source, arguments)
    return _replay_movie(source, arguments)


def _replay_session(folder: Path, arguments: argparse.Namespace) -> int:
    from protocols.load import find_protocol
    from rt_engine.commands.start_run import rig_of_session, run_rig
    from rt_engine.services.replay_plan import StartsFrom, pixel_plan, replay_of_session, session_rig
    from rt_engine.services.session_folder import kept_protocol

    _refuse_movie_options(arguments)
    rig, recorded_protocol = rig_of_session(folder)
    planes = _at_most(arguments.plane or rig.planes_inferred, folder)
    channel = rig.functional_channel if arguments.channel is None else arguments.channel
    calibration = Path(arguments.calibration) if arguments.calibration else folder / "calibration.h5"
    wanted = arguments.protocol or kept_protocol(folder) or recorded_protocol
    protocol = None if wanted in (None, "none") else find_protocol(str(wanted))
    differs = _differences(arguments, rig, planes, channel)
    channels = (channel,) if rig.registration_channel is None else (channel, rig.registration_channel)
    pixels = pixel_plan(folder, rig, arguments.starts_from, calibration, planes, channels)
    shown = {"from_traces": pixels.starts_from is StartsFrom.TRACES, "traces_from_frame": pixels.traces_from_frame}
    microscope = _microscope(arguments, planes, channel).model_copy(update=shown)
    with tempfile.TemporaryDirectory() as scratch:
        used = _with_thresholds(calibration, arguments.false_alarms_per_min, planes, Path(scratch))
        replay = replay_of_session(folder, calibration, protocol, differs, pixels, planes)
        summary = run_rig(
            _ported(session_rig(_with_indicator(rig, arguments.indicator), microscope, planes), arguments),
            kind="replay",
            output=arguments.output,
            protocol=str(protocol) if protocol else None,
            calibration=str(used),
            baseline_s=_REPLAY_BASELINE_S,
            duration_s=None,
            replay=replay,
        )
    return write_json(arguments, summary)


def _refuse_movie_options(arguments: argparse.Namespace) -> None:
    """A session knows these of itself; to go on without a word would look as if they had been obeyed.

    Raises
    ------
    ConfigError
        One is given.
    """
    from rt_engine.interfaces.errors import ConfigError

    given = {"--frame-rate-hz": arguments.frame_rate_hz, "--axes": arguments.axes, "--shape": arguments.shape}
    for option, value in given.items():
        if value is not None:
            raise ConfigError("is for movies", "a session knows this of its own frames: leave it out", key=option)


def _differences(
    arguments: argparse.Namespace, rig: RigConfig, planes: tuple[int, ...], channel: int
) -> tuple[str, ...]:
    """What was asked for otherwise than it was recorded."""
    found = []
    if arguments.indicator and arguments.indicator != rig.inference.indicator:
        found.append(f"indicator {arguments.indicator}")
    if arguments.false_alarms_per_min:
        found.append(f"{arguments.false_alarms_per_min:g} false events per minute and cell")
    if planes != rig.planes_inferred:
        found.append(f"planes {', '.join(map(str, planes))} only")
    if channel != rig.functional_channel:
        found.append(f"channel {channel}")
    return tuple(found)


def _replay_movie(source: Path, arguments: argparse.Namespace) -> int:
    from drivers.microscopes.movie_file import MovieRequest
    from rt_engine.commands.start_run import run_rig
    from rt_engine.interfaces.errors import ConfigError
    from rt_engine.interfaces.rig_config import load_rig
    from rt_engine.interfaces.shipped import find_rig
    from rt_engine.services.frame_sources import movie_source, planes_of_movie
    from rt_engine.services.replay_plan import movie_rig, replay_of_movie

    if arguments.false_alarms_per_min and not arguments.calibration:
        raise ConfigError("needs a calibration to change", "add --calibration", key="--false-alarms-per-min")
    if arguments.starts_from == "traces":
        raise ConfigError("is for sessions", "a movie holds frames and no traces", key="--from")
    rig, channel = load_rig(find_rig(arguments.rig)), arguments.channel or 0
    asked = MovieRequest(arguments.frame_rate_hz, channel, 0, arguments.axes, arguments.shape)
    planes = _at_most(arguments.plane or planes_of_movie(source, asked), source)
    movie = movie_source(source, replace(asked, plane=planes[0]))
    if arguments.calibration:
        _require_fits(Path(arguments.calibration), movie, planes, channel, arguments.indicator)
    protocol = arguments.protocol or rig.protocol
    with tempfile.TemporaryDirectory() as scratch:
        used = None
        if arguments.calibration:
            used = _with_thresholds(Path(arguments.calibration), arguments.false_alarms_per_min, planes, Path(scratch))
        summary = run_rig(
            _ported(
                movie_rig(_with_indicator(rig, arguments.indicator), _microscope(arguments, planes, channel), planes),
                arguments,
            ),
            kind="replay",
            output=arguments.output,
            protocol=None if protocol == "none" else protocol,
            calibration=None if used is None else str(used),
            baseline_s=_REPLAY_BASELINE_S,
            baseline_frames=movie.n_frames // 2,
            duration_s=None,
            replay=replay_of_movie(source),
        )
    return write_json(arguments, summary)


def _require_fits(
    calibration: Path, movie: FrameSource, planes: tuple[int, ...], channel: int, indicator: str | None
) -> None:
    from rt_engine.interfaces.calibration_planes import load_plane

    for plane in planes:
        load_plane(calibration, plane).require_fits(
            movie.n_lines,
            movie.pixels_per_line,
            str(calibration),
            um_per_px=movie.um_per_px,
            indicator=indicator,
            plane=plane,
            channel=channel,
        )


def _at_most(planes: tuple[int, ...], source: Path) -> tuple[int, ...]:
    from rt_engine.interfaces.errors import ConfigError
    from rt_engine.interfaces.rig_config import MAX_PLANES

    if len(planes) > MAX_PLANES:
        raise ConfigError(
            f"has {len(planes)} planes, one run infers at most {MAX_PLANES}",
            "choose some with --plane, for example --plane 0,1",
            file=str(source),
        )
    return planes


def _with_indicator(rig: RigConfig, indicator: str | None) -> RigConfig:
    if indicator is None:
        return rig
    return rig.model_copy(update={"inference": rig.inference.model_copy(update={"indicator": indicator})})


def _ported(rig: RigConfig, arguments: argparse.Namespace) -> RigConfig:
    """The rig on the ports it is to use."""
    from rt_engine.services.own_ports import with_own_ports

    return with_own_ports(rig) if arguments.own_ports else rig


def _with_thresholds(
    calibration: Path, false_alarms_per_min: float | None, planes: tuple[int, ...], scratch: Path
) -> Path:
    """The calibration, or a copy in `scratch` with thresholds for another rate of false events."""
    from rt_engine.interfaces.calibration_planes import load_plane, save_planes
    from rt_engine.services.replay_plan import with_false_alarms

    if false_alarms_per_min is None:
        return calibration
    changed = scratch / "calibration.h5"
    save_planes(changed, [with_false_alarms(load_plane(calibration, plane), false_alarms_per_min) for plane in planes])
    return changed


def _microscope(arguments: argparse.Namespace, planes: tuple[int, ...], channel: int) -> ReplayMicroscope:
    from rt_engine.interfaces.rig_config import ReplayMicroscope

    return ReplayMicroscope(
        driver="replay",
        path=arguments.source,
        frame_rate_hz=arguments.frame_rate_hz,
        channel=channel,
        plane=planes[0],
        axes=arguments.axes,
        frame_shape=arguments.shape,
        speed=arguments.speed,
    )
