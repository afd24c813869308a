"""The `spikeloop` command. Imports nothing heavy until a command runs, so that `--help` is instant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from rt_engine import __version__
from rt_engine.commands import (
    bench,
    calibrate,
    calibrate_power,
    ctl,
    demo,
    diff,
    doctor,
    export,
    gui,
    infer,
    keys,
    map,
    protocol,
    recover,
    register_slm,
    replay,
    report,
    run,
    score,
    serve,
    simulate,
    slm_targets,
    status,
    train,
    train_data,
)
from rt_engine.commands.closed_pipe import let_go_of_stdout
from rt_engine.interfaces.errors import ConfigError, SpikeloopError

_COMMANDS = (
    demo,
    run,
    serve,
    gui,
    status,
    ctl,
    doctor,
    calibrate_power,
    register_slm,
    slm_targets,
    calibrate,
    replay,
    simulate,
    protocol,
    infer,
    score,
    train,
    train_data,
    bench,
    report,
    recover,
    export,
    diff,
    map,
    keys,
)
"""In the order of `spikeloop --help`. Each has `add_parser(commands)` and `execute(arguments)`."""


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
        name = arguments.command.replace("-", "_")
        module: ModuleType = next(one for one in _COMMANDS if one.__name__.endswith(f".{name}"))
        return int(module.execute(arguments))
    except SpikeloopError as error:
        sys.stderr.write(f"spikeloop: {error}\n")
        return error.exit_code
    except BrokenPipeError:
        let_go_of_stdout()
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("spikeloop: aborted\n")
        return 1


def build_parser() -> argparse.ArgumentParser:
    """Parser of the whole command line."""
    parser = _Parser(prog="spikeloop", description="Closed-loop calcium imaging: light in, light out, nothing lost.")
    parser.add_argument("--version", action="version", version=f"spikeloop {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


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
