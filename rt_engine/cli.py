"""The `spikeloop` command. Imports nothing heavy until a command runs, so that `--help` is instant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from rt_engine import __version__
from rt_engine.interfaces.errors import ConfigError, SpikeloopError

_BASELINE_S = 120.0


class _Parser(argparse.ArgumentParser):
    """Reports bad usage in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        sys.stderr.write(f"{self.prog}: {message}. See `{self.prog} --help`\n")
        raise SystemExit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 success, 1 failure at run time, 2 bad usage or config)."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        _check_installation()
        from rt_engine import commands

        return int(getattr(commands, arguments.command.replace("-", "_"))(arguments) or 0)
    except SpikeloopError as error:
        sys.stderr.write(f"spikeloop: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("spikeloop: aborted\n")
        return 1


def build_parser() -> argparse.ArgumentParser:
    """Parser of the whole command line."""
    parser = _Parser(prog="spikeloop", description="Closed-loop calcium imaging: light in, light out, nothing lost.")
    parser.add_argument("--version", action="version", version=f"spikeloop {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for add in (_demo, _run, _ctl, _calibrate, _replay, _simulate, _infer, _score, _bench, _report, _recover):
        add(commands)
    return parser


Commands = Any
"""`argparse` does not name the type of its subparsers in public."""


def _command(commands: Commands, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"Example:  {example}"
    )
    return parser


def _demo(commands: Commands) -> None:
    parser = _command(commands, "demo", "Virtual rig, closed loop, report.", "spikeloop demo --duration 30")
    parser.add_argument("--duration", type=_positive, default=60.0, metavar="S", help="seconds live (default 60)")
    parser.add_argument("--no-gui", action="store_true", help="live text instead of the window")
    parser.add_argument("--output", metavar="DIR", help="session folder (default sessions/<UTC time>-virtual_rig)")
    _json(parser)


def _run(commands: Commands) -> None:
    parser = _command(
        commands, "run", "Run a rig: baseline, calibration, live.", "spikeloop run virtual_rig --duration 60 --dry-run"
    )
    parser.add_argument("rig", metavar="RIG", help="rig file, or the name of a shipped one")
    parser.add_argument("--protocol", metavar="P", help="protocol file or name (default: the rig's)")
    parser.add_argument("--calibration", metavar="C", help="calibration file; without it a baseline is recorded first")
    parser.add_argument("--baseline", type=_positive, default=_BASELINE_S, metavar="S", help="seconds (default 120)")
    parser.add_argument(
        "--duration", type=_positive, metavar="S", help="seconds from going live (default: until Ctrl-C)"
    )
    parser.add_argument("--subject", metavar="ID", help="whose dose is counted")
    parser.add_argument("--output", metavar="DIR", help="session folder (default sessions/<UTC time>-<rig>)")
    parser.add_argument("--dry-run", action="store_true", help="decide everything, fire nothing")
    parser.add_argument("--no-gui", action="store_true", help="live text instead of the window")
    _json(parser)


def _ctl(commands: Commands) -> None:
    parser = _command(
        commands, "ctl", "Command a running rig.", 'spikeloop ctl reset "fibre replaced", or: spikeloop ctl status'
    )
    known = ("status", "arm", "disarm", "stop", "trip", "reset")
    parser.add_argument("cmd", metavar="CMD", choices=known, help=", ".join(known))
    parser.add_argument("text", metavar="ARGS", nargs="*", help="reset: the reason; trip: why; arm: who")
    parser.add_argument("--rig", metavar="RIG", default="virtual_rig", help="rig whose ports are used")
    _json(parser)


def _calibrate(commands: Commands) -> None:
    parser = _command(
        commands,
        "calibrate",
        "Baseline recording to template, cells, noise, kernels and thresholds.",
        "spikeloop calibrate movie.tif --frame-rate-hz 15 --indicator GCaMP6s -o calibration.h5",
    )
    parser.add_argument("source", metavar="MOVIE_OR_SESSION")
    _movie_options(parser)
    parser.add_argument(
        "--rois",
        metavar="FILE",
        help="your cells: label image (TIFF, .npy), ImageJ .roi or .zip, suite2p stat.npy, CaImAn .hdf5, NWB",
    )
    parser.add_argument("--from", dest="old", metavar="OLD_CAL", help="find the cells of an older calibration again")
    parser.add_argument("--yes", action="store_true", help="with --from: take what was found again without asking")
    parser.add_argument("--indicator", metavar="NAME", help="calcium indicator (default jGCaMP8m, or the session's)")
    parser.add_argument("-o", "--output", metavar="CAL", required=True, help="file to write (.h5), a .png beside it")
    _json(parser)


def _replay(commands: Commands) -> None:
    parser = _command(
        commands, "replay", "The same engine over recorded frames.", "spikeloop replay movie.tif --speed max"
    )
    parser.add_argument("source", metavar="SESSION_OR_MOVIE")
    _movie_options(parser)
    parser.add_argument("--calibration", metavar="C", help="default: the session's own; for a movie, its first half")
    parser.add_argument("--indicator", metavar="NAME", help="for a movie without calibration (default jGCaMP8m)")
    parser.add_argument("--protocol", metavar="P", help="protocol file or name (default: the session's)")
    parser.add_argument("--speed", type=_speed, default=1.0, metavar="N", help="1 real time (default), or max")
    parser.add_argument("--output", metavar="DIR", help="session folder (default sessions/<UTC time>-replay)")
    _json(parser)


def _simulate(commands: Commands) -> None:
    parser = _command(
        commands,
        "simulate",
        "Movie with ground truth.",
        "spikeloop simulate virtual_rig -o m.tif --duration 60 --seed 1",
    )
    parser.add_argument("rig", metavar="RIG")
    parser.add_argument("-o", "--output", metavar="MOVIE", required=True, help="TIFF to write; truth goes beside it")
    parser.add_argument("--duration", type=_positive, required=True, metavar="S")
    parser.add_argument("--seed", type=int, required=True, metavar="N")


_METHODS = ("combined", "oasis", "matched_filter")


def _infer(commands: Commands) -> None:
    parser = _command(
        commands,
        "infer",
        "Spikes from traces, by the streaming kernels, from the past alone.",
        "spikeloop infer traces.npz -o spikes.npz --indicator GCaMP6f --hold 3",
    )
    parser.add_argument("source", metavar="IN", help=".npz (traces, frame_rate_hz, neuropil, kind) or .nwb")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help=".npz to write")
    parser.add_argument("--indicator", metavar="NAME", required=True, help="calcium indicator, e.g. jGCaMP8m")
    parser.add_argument("--kind", choices=("dff", "counts"), help="what traces are (default: the file's, else dff)")
    parser.add_argument("--method", choices=_METHODS, default="combined", help="default combined")
    parser.add_argument("--hold", type=_not_negative, metavar="N", help="frames waited (default: the indicator's)")
    parser.add_argument("--baseline", type=_positive, metavar="S", help="first seconds used whole for calibration")
    parser.add_argument(
        "--false-alarms-per-min", type=_positive, metavar="X", help="per cell, under noise (default: by probability)"
    )
    _json(parser)


def _score(commands: Commands) -> None:
    parser = _command(
        commands,
        "score",
        "Accuracy against simultaneous electrophysiology: table and figure.",
        "spikeloop score ground_truth --method combined --hold 3 --json score.json",
    )
    parser.add_argument("truth", metavar="TRUTH_DIR", help="folder of ground-truth .npz files")
    parser.add_argument("--method", choices=_METHODS, default="combined", help="default combined")
    parser.add_argument("--hold", type=_not_negative, default=3, metavar="N", help="frames waited (default 3)")
    parser.add_argument("--fs", type=_positive, default=30.0, metavar="HZ", help="frame rate to score at (default 30)")
    parser.add_argument("--nu", type=_positive, metavar="X", help="raise noise to X percent per root hertz")
    parser.add_argument("--pred", metavar="FILE", help="score these predictions (.npz) and infer nothing")
    parser.add_argument("-o", "--output", metavar="PNG", default="score.png", help="figure (default score.png)")
    _json(parser)


def _bench(commands: Commands) -> None:
    parser = _command(
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
    _json(parser)


def _report(commands: Commands) -> None:
    parser = _command(
        commands, "report", "Write report.html of a session.", "spikeloop report sessions/20260101T120000-rig"
    )
    parser.add_argument("session", metavar="SESSION")


def _recover(commands: Commands) -> None:
    parser = _command(
        commands, "recover", "Make a crashed session whole.", "spikeloop recover sessions/20260101T120000-rig"
    )
    parser.add_argument("session", metavar="SESSION")


def _movie_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frame-rate-hz", type=_positive, metavar="F", help="where the file does not say")
    parser.add_argument("--channel", type=_not_negative, default=0, metavar="N", help="from 0 (default 0)")
    parser.add_argument("--plane", type=_not_negative, default=0, metavar="N", help="of a volume, from 0 (default 0)")
    parser.add_argument("--axes", metavar="AXES", help="order as stored where the file does not say, e.g. TZYX")
    parser.add_argument("--shape", type=_shape, metavar="LINESxPIXELS", help="of a .bin file without ops.npy")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="F", help="also write the figures as JSON to F")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _shape(text: str) -> tuple[int, int]:
    lines, _, pixels = text.lower().partition("x")
    if not (lines.isdecimal() and pixels.isdecimal() and int(lines) and int(pixels)):
        raise argparse.ArgumentTypeError(f"{text} is no size, say for example 512x512")
    return int(lines), int(pixels)


def _speed(text: str) -> float | str:
    return "max" if text == "max" else _positive(text)


def _check_installation() -> None:
    """The four packages must lie side by side; another `drivers` or `gui` on the path would be a silent disaster.

    Raises
    ------
    ConfigError
        One of them comes from elsewhere.
    """
    import importlib.util
    from pathlib import Path

    parent = Path(__file__).resolve().parents[1]
    for name in ("drivers", "gui", "protocols"):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
        if found != parent:
            raise ConfigError(
                f"package {name!r} is found in {found}, not beside rt_engine in {parent}",
                "install spikeloop in a virtual environment of its own",
            )


if __name__ == "__main__":
    sys.exit(main())
