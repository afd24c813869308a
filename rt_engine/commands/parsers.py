"""What the parsers of several commands share."""

from __future__ import annotations

import argparse
import re
from typing import Any

Commands = Any
"""`argparse` does not name the type of its subparsers in public."""

_COMPUTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
METHODS = ("combined", "network", "oasis", "matched_filter")
"""Methods of inference that a person may choose from."""


def new_command(commands: Commands, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    """A command with one line of help and an example."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"Example:  {example}"
    )
    return parser


def add_method(parser: argparse.ArgumentParser) -> None:
    """`--method` and `--weights`."""
    parser.add_argument("--method", choices=METHODS, default="combined", help="default combined")
    parser.add_argument(
        "--weights", metavar="NAME", help="of --method network: synthetic+real (default), synthetic, or a file"
    )


def add_movie_options(parser: argparse.ArgumentParser) -> None:
    """How a movie is to be read, where its file does not say."""
    parser.add_argument("--frame-rate-hz", type=positive, metavar="F", help="where the file does not say")
    parser.add_argument("--channel", type=not_negative, metavar="N", help="from 0 (default 0, or the session's)")
    parser.add_argument("--plane", type=planes, metavar="N", help="of a volume, from 0: 1, or 0,2 (default: all)")
    parser.add_argument("--axes", metavar="AXES", help="order as stored where the file does not say, e.g. TZYX")
    parser.add_argument("--shape", type=shape, metavar="LINESxPIXELS", help="of a .bin file without ops.npy")


def add_key(parser: argparse.ArgumentParser) -> None:
    """`--key FILE`."""
    parser.add_argument("--key", metavar="FILE", help="who you are to a rig with keys (default $SPIKELOOP_KEY)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json F`."""
    parser.add_argument("--json", metavar="F", help="also write the figures as JSON to F")


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def not_negative(text: str) -> int:
    """A whole number, 0 or more."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def computer(text: str) -> str:
    """A name or address of a computer, without a port."""
    if not _COMPUTER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name or address of a computer (ports stand in the rig file)")
    return text


def count(text: str) -> int:
    """A whole number, 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


def planes(text: str) -> tuple[int, ...]:
    """Planes of a volume: ascending, each once."""
    return tuple(sorted({not_negative(part) for part in text.split(",")}))


def shape(text: str) -> tuple[int, int]:
    """A size as LINESxPIXELS."""
    lines, _, pixels = text.lower().partition("x")
    if not (lines.isdecimal() and pixels.isdecimal() and int(lines) and int(pixels)):
        raise argparse.ArgumentTypeError(f"{text} is no size, say for example 512x512")
    return int(lines), int(pixels)


def speed(text: str) -> float | str:
    """A factor, or `max`."""
    return "max" if text == "max" else positive(text)
