"""`spikeloop score`: accuracy of a method, or of a file of predictions, against electrophysiology."""

from __future__ import annotations

import argparse

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, add_method, new_command, not_negative, positive


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop score`."""
    parser = new_command(
        commands,
        "score",
        "Accuracy against simultaneous electrophysiology: table and figure.",
        "spikeloop score ground_truth --method combined --hold 3 --json score.json",
    )
    parser.add_argument("truth", metavar="TRUTH_DIR", help="folder of ground-truth .npz files")
    add_method(parser)
    parser.add_argument("--hold", type=not_negative, default=3, metavar="N", help="frames waited (default 3)")
    parser.add_argument("--fs", type=positive, default=30.0, metavar="HZ", help="frame rate to score at (default 30)")
    parser.add_argument("--nu", type=positive, metavar="X", help="raise noise to X percent per root hertz")
    parser.add_argument("--raw", action="store_true", help="from raw ROI and neuropil fluorescence, where recorded")
    parser.add_argument("--pred", metavar="FILE", help="score these predictions (.npz) and infer nothing")
    parser.add_argument("-o", "--output", metavar="PNG", default="score.png", help="figure (default score.png)")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Accuracy of a method, or of a file of predictions, against electrophysiology."""
    from rt_engine.services.accuracy_job import run_score

    return write_json(arguments, run_score(arguments))
