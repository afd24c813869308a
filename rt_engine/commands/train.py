"""`spikeloop train`: weights of the causal network."""

from __future__ import annotations

import argparse

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, count, new_command, not_negative, positive


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop train`."""
    parser = new_command(
        commands,
        "train",
        "Train the causal network on synthetic traces and, if given, on real ones; goes on where it was stopped.",
        "spikeloop train my-network --real ground_truth --leave-out DS09,DS13",
    )
    parser.add_argument("folder", metavar="FOLDER", help="for checkpoint, samples and weights.npz")
    parser.add_argument("--real", metavar="TRUTH_DIR", help="folder of ground-truth .npz files to learn from too")
    parser.add_argument("--leave-out", metavar="SETS", help="data sets not to learn from, e.g. DS09,DS13")
    parser.add_argument("--mixture", type=_share, default=0.5, metavar="X", help="part that is real (default 0.5)")
    parser.add_argument("--blocks", type=not_negative, default=100, metavar="N", help="of 48 synthetic cells, 90 s")
    parser.add_argument("--steps", type=count, default=300, metavar="N", help="at most (default 300)")
    parser.add_argument("--seed", type=not_negative, default=1, metavar="N", help="default 1")
    parser.add_argument("--ranges", metavar="YAML", help="of the synthetic traces (default: those shipped)")
    parser.add_argument("--width", type=positive, default=1.0, metavar="X", help="of the indicator's ranges, times")
    parser.add_argument("--corpus", metavar="FOLDER", help="samples that several trainings share")
    parser.add_argument("--name", default="own", help="for the card of the weights")
    add_json(parser)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def execute(arguments: argparse.Namespace) -> int:
    """Make samples, train, write weights."""
    from rt_engine.services.train_job import run_training

    return write_json(arguments, run_training(arguments))
