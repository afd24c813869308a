"""`spikeloop replay`: recorded frames through the same engine; every output is virtual."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, add_movie_options, new_command, speed

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
    parser.add_argument("--protocol", metavar="P", help="protocol file or name (default: the session's)")
    parser.add_argument("--speed", type=speed, default=1.0, metavar="N", help="1 real time (default), or max")
    parser.add_argument("--output", metavar="DIR", help="session folder (default sessions/<UTC time>-replay)")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Recorded frames through the same engine; every output is virtual."""
    from drivers.microscopes.movie_file import MovieRequest, is_movie_folder
    from rt_engine.commands.start_run import rig_of_session, run_rig
    from rt_engine.interfaces.errors import ConfigError
    from rt_engine.interfaces.rig_config import MAX_PLANES, ReplayMicroscope, load_rig
    from rt_engine.interfaces.shipped import find_rig

    source = Path(arguments.source)
    calibration, n_frames, channel = arguments.calibration, None, arguments.channel or 0
    if source.is_dir() and not is_movie_folder(source):
        rig, protocol = rig_of_session(source)
        planes = arguments.plane or rig.planes_inferred
        channel = rig.functional_channel if arguments.channel is None else channel
        calibration = calibration or str(source / "calibration.h5")
    else:
        from rt_engine.interfaces.calibration_planes import load_plane
        from rt_engine.services.frame_sources import movie_source, planes_of_movie

        rig = load_rig(find_rig("virtual_rig"))
        protocol = rig.protocol
        asked = MovieRequest(arguments.frame_rate_hz, channel, 0, arguments.axes, arguments.shape)
        planes = arguments.plane or planes_of_movie(source, asked)
        movie = movie_source(source, replace(asked, plane=planes[0]))
        n_frames = movie.n_frames
        for plane in planes if calibration else ():
            load_plane(Path(calibration), plane).require_fits(
                movie.n_lines,
                movie.pixels_per_line,
                calibration,
                um_per_px=movie.um_per_px,
                indicator=arguments.indicator,
                plane=plane,
                channel=channel,
            )
    if len(planes) > MAX_PLANES:
        raise ConfigError(
            f"has {len(planes)} planes, one run infers at most {MAX_PLANES}",
            "choose some with --plane, for example --plane 0,1",
            file=str(source),
        )
    microscope = ReplayMicroscope(
        driver="replay",
        path=str(source),
        frame_rate_hz=arguments.frame_rate_hz,
        channel=channel,
        plane=planes[0],
        axes=arguments.axes,
        frame_shape=arguments.shape,
        speed=arguments.speed,
    )
    update: dict[str, Any] = {"name": "replay", "microscope": microscope, "planes": planes}
    if arguments.indicator:
        update["inference"] = rig.inference.model_copy(update={"indicator": arguments.indicator})
    rig = rig.model_copy(update=update)
    summary = run_rig(
        rig,
        kind="replay",
        output=arguments.output,
        protocol=arguments.protocol or protocol,
        calibration=calibration,
        baseline_s=_REPLAY_BASELINE_S,
        baseline_frames=None if n_frames is None else n_frames // 2,
        duration_s=None,
    )
    return write_json(arguments, summary)
