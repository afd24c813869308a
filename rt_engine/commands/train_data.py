"""`spikeloop train-data`: what the network learns from, of one file of real recordings."""

from __future__ import annotations

import argparse

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, new_command


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop train-data`."""
    parser = new_command(
        commands,
        "train-data",
        "Samples for training from one ground-truth file; `train --corpus` finds them made.",
        "spikeloop train-data ground_truth/DS09.npz --corpus corpus",
    )
    parser.add_argument("recordings", metavar="TRUTH", help="a ground-truth .npz file")
    parser.add_argument("--corpus", metavar="FOLDER", required=True, help="where the samples go")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Make the samples; say how many.

    Raises
    ------
    ConfigError
        The file is no ground truth, or holds nothing to learn from.
    """
    from pathlib import Path

    from rt_engine.models.network_corpus import build_recordings
    from rt_engine.services.run_view import RunView

    recordings, view = Path(arguments.recordings), RunView()
    blocks = build_recordings(
        Path(arguments.corpus), recordings, lambda share: view.say(f"{recordings.name}: {100 * share:3.0f} %")
    )
    n_samples = sum(int((block.samples.counts >= 0).sum()) for block in blocks)
    view.say(f"{recordings.name}: {len(blocks)} blocks, {n_samples} samples")
    return write_json(arguments, {"source": recordings.stem, "blocks": len(blocks), "samples": n_samples})
