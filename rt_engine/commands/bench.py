"""`spikeloop bench`: kernels, or all from pixels to traces, against the code of others in one run."""

from __future__ import annotations

import argparse

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, new_command
from rt_engine.interfaces.errors import ConfigError


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop bench`."""
    parser = new_command(
        commands,
        "bench",
        "The published numbers, measured on this machine.",
        "spikeloop bench kernels --json kernels.json -o kernels.png",
    )
    parser.add_argument(
        "what",
        metavar="WHAT",
        choices=("kernels", "pixels"),
        help="kernels: against other deconvolution code; pixels: registration and traces",
    )
    parser.add_argument("-o", "--output", metavar="FIGURE", help="also draw it (.png, .svg or .pdf; kernels)")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
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
    return write_json(arguments, figures)


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
    return write_json(arguments, figures)
