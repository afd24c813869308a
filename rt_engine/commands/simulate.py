"""`spikeloop simulate`: a movie of the virtual rig, with its truth beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

from rt_engine.commands.parsers import Commands, new_command, positive
from rt_engine.interfaces.errors import ConfigError


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop simulate`."""
    parser = new_command(
        commands,
        "simulate",
        "Movie with ground truth.",
        "spikeloop simulate virtual_rig -o m.tif --duration 60 --seed 1",
    )
    parser.add_argument("rig", metavar="RIG")
    parser.add_argument("-o", "--output", metavar="MOVIE", required=True, help="TIFF to write; truth goes beside it")
    parser.add_argument("--duration", type=positive, required=True, metavar="S")
    parser.add_argument("--seed", type=int, required=True, metavar="N")


def execute(arguments: argparse.Namespace) -> int:
    """A movie of the virtual rig, with its truth beside it."""
    from drivers.virtual_rig.simulate import simulate as write_movie
    from rt_engine.interfaces.rig_config import VirtualMicroscope, load_rig
    from rt_engine.interfaces.shipped import find_rig
    from rt_engine.services.run_view import RunView

    path = find_rig(arguments.rig)
    microscope = load_rig(path).microscope
    if not isinstance(microscope, VirtualMicroscope):
        raise ConfigError("only a virtual rig can be simulated", "use virtual_rig", file=str(path), key="microscope")
    target = Path(arguments.output)
    if not target.parent.is_dir():
        raise ConfigError("there is no such folder", "make it first", file=str(target.parent))
    view = RunView()
    truths = write_movie(
        microscope,
        arguments.duration,
        target,
        arguments.seed,
        lambda done, total: view.progress("frames", done / total),
    )
    view.end_progress()
    view.say(f"movie: {target}\ntruth: {', '.join(map(str, truths))}")
    return 0
