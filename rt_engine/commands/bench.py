"""`spikeloop bench`: kernels, or all from pixels to traces, against the code of others in one run."""

from __future__ import annotations

import argparse

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, count, new_command, positive
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
        choices=("kernels", "pixels", "latency", "soak"),
        help="kernels: against other deconvolution code; pixels: registration and traces; latency: the whole loop "
        "against a bare hop; soak: hours of it",
    )
    parser.add_argument("-o", "--output", metavar="FIGURE", help="also draw it (.png, .svg or .pdf; not pixels)")
    parser.add_argument("--rounds", type=count, default=5, metavar="N", help="latency: rounds (default 5)")
    parser.add_argument("--only", metavar="NAME", help="latency: the part with a chain of this name, such as window")
    parser.add_argument("--frames", type=count, metavar="N", help="soak: so many frames as fast as they go")
    parser.add_argument("--duration", type=positive, metavar="S", help="soak: so long at 30 Hz (default 3600)")
    parser.add_argument("--cells", type=count, default=1000, metavar="N", help="soak: cells (default 1000)")
    parser.add_argument("--side", type=_side, default=512, metavar="PX", help="soak: lines of a frame (default 512)")
    parser.add_argument("--high-priority", action="store_true", help="soak: the rig's scheduling.high_priority")
    add_json(parser)


def _side(text: str) -> int:
    """Lines of a frame; a field must have room for cells and their rings."""
    side_px = count(text)
    if not 64 <= side_px <= 4096:
        raise argparse.ArgumentTypeError(f"{text} is not between 64 and 4096")
    return side_px


def execute(arguments: argparse.Namespace) -> int:
    """Kernels, all from pixels to traces, or the whole loop, against others in one run."""
    from rich.console import Console

    others = {"pixels": _bench_pixels, "latency": _bench_latency, "soak": _bench_soak}
    if arguments.what in others:
        return others[arguments.what](arguments)

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


def _bench_latency(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from rt_engine.bench.kernel_view import figure_path
    from rt_engine.bench.loop.latency import families_with, run_latency_benchmark
    from rt_engine.bench.loop.latency_view import print_latency, save_latency_figure
    from rt_engine.services.run_view import RunView

    target = figure_path(arguments.output) if arguments.output else None
    view = RunView()
    figures = run_latency_benchmark(arguments.rounds, view.progress, families_with(arguments.only))
    view.end_progress()
    print_latency(figures, Console(highlight=False))
    if target is not None:
        save_latency_figure(figures, target)
        view.say(f"figure: {target}")
    return write_json(arguments, figures)


def _bench_soak(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from rt_engine.bench.kernel_view import figure_path
    from rt_engine.bench.loop.soak import SoakPlan, run_soak
    from rt_engine.bench.loop.soak_view import print_soak, save_soak_figure
    from rt_engine.services.run_view import RunView

    if arguments.frames is not None and arguments.duration is not None:
        raise ConfigError("frames as fast as they go, or a time at 30 Hz, not both", key="--duration")
    target = figure_path(arguments.output) if arguments.output else None
    view = RunView()
    plan = SoakPlan(
        arguments.frames,
        arguments.duration or 3600.0,
        arguments.cells,
        arguments.side,
        high_priority=arguments.high_priority,
    )
    figures = run_soak(plan, view.progress)
    view.end_progress()
    print_soak(figures, Console(highlight=False))
    if target is not None:
        save_soak_figure(figures, target)
        view.say(f"figure: {target}")
    return write_json(arguments, figures)
