"""`spikeloop infer`: traces become spikes, as the live engine would have told them."""

from __future__ import annotations

import argparse

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, add_method, new_command, not_negative, positive


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop infer`."""
    parser = new_command(
        commands,
        "infer",
        "Spikes from traces, by the streaming kernels, from the past alone.",
        "spikeloop infer traces.npz -o spikes.npz --indicator GCaMP6f --hold 3",
    )
    parser.add_argument("source", metavar="IN", help=".npz (traces, frame_rate_hz, neuropil, kind) or .nwb")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help=".npz to write")
    parser.add_argument("--indicator", metavar="NAME", required=True, help="calcium indicator, e.g. jGCaMP8m")
    parser.add_argument("--kind", choices=("dff", "counts"), help="what traces are (default: the file's, else dff)")
    add_method(parser)
    parser.add_argument("--hold", type=not_negative, metavar="N", help="frames waited (default: the indicator's)")
    parser.add_argument("--baseline", type=positive, metavar="S", help="first seconds used whole for calibration")
    parser.add_argument(
        "--false-alarms-per-min", type=positive, metavar="X", help="per cell, under noise (default: by probability)"
    )
    parser.add_argument(
        "--false-event-cost",
        type=positive,
        metavar="C",
        help="of a false event, 1 being that of a missed one: told from probability C / (1 + C) on (combined, network)",
    )
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Traces become spikes, as the live engine would have told them."""
    from rt_engine.services.trace_job import run_inference

    return write_json(arguments, run_inference(arguments))
