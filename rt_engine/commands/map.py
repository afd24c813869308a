"""`spikeloop map`: one command over many sources."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rt_engine.commands.closed_pipe import let_go_of_stdout
from rt_engine.commands.figures import write_json
from rt_engine.commands.map_sources import SUFFIXES, listed_sources, require_usable_options, tasks_of
from rt_engine.commands.parsers import Commands, add_json, count, new_command, positive
from rt_engine.interfaces.errors import ConfigError

if TYPE_CHECKING:
    from rt_engine.services.many_tasks import Outcome

_SAY_EVERY_S = 5.0


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop map`."""
    parser = new_command(
        commands,
        "map",
        "One command over many sources, resumed where it ended.",
        "spikeloop map infer traces/*.npz --into spikes --with --indicator jGCaMP8m",
    )
    parser.add_argument("cmd", metavar="CMD", choices=tuple(SUFFIXES), help=", ".join(SUFFIXES))
    parser.add_argument("sources", metavar="SOURCE", nargs="*", help="files or folders")
    parser.add_argument("--into", metavar="DIR", required=True, help="folder of the outputs, and of map.jsonl")
    parser.add_argument("--workers", type=count, metavar="N", help="processes (default: the cores of this computer)")
    parser.add_argument(
        "--scheduler", metavar="S", default="pool", help="pool (default), local, slurm, or tcp://… of a dask scheduler"
    )
    parser.add_argument(
        "--memory-gb", type=positive, metavar="X", help="a worker that takes more is ended, and its source named"
    )
    parser.add_argument("--list", metavar="FILE", help="more sources, one a line")
    add_json(parser)
    parser.add_argument(
        "--with", dest="options", nargs=argparse.REMAINDER, default=[], metavar="OPTION", help="the rest goes to CMD"
    )


def execute(arguments: argparse.Namespace) -> int:
    """0 if everything is done, 1 if something failed; then the same line tries that again.

    Raises
    ------
    ConfigError
        No sources, options that CMD cannot use, a folder that cannot be written, or a scheduler that is not there.
    """
    from rt_engine.commands.map_work import work
    from rt_engine.services.many_pools import open_pool
    from rt_engine.services.many_tasks import Fate, Ledger, run_many

    require_usable_options(arguments)
    sources, into = listed_sources(arguments), Path(arguments.into)
    try:
        into.mkdir(parents=True, exist_ok=True)
        ledger = Ledger(into)
    except OSError as error:
        raise ConfigError(f"is no folder for outputs: {error.strerror}", file=str(into), key="--into") from error
    tasks = tasks_of(arguments, sources, ledger)
    n_done_before = sum(ledger.is_done(task) for task in tasks)
    _say(f"{len(tasks)} sources, {n_done_before} done before")
    with open_pool(arguments.scheduler, arguments.workers) as pool:
        outcomes = run_many(tasks, work, pool.make, pool.n_workers, ledger, _Progress())
    failed = [one for one in outcomes if one.fate is Fate.FAILED]
    for one in failed:
        sys.stderr.write(f"failed: {one.name}: {one.error}\n")
    n_done = len(tasks) - len(failed)
    _say(f"{n_done} of {len(tasks)} done" + (f", {len(failed)} failed" if failed else ""))
    figures = {
        "sources": len(tasks),
        "done": n_done,
        "done_before": n_done_before,
        "failed": {one.name: one.error for one in failed},
    }
    write_json(arguments, figures)
    return 1 if failed else 0


class _Progress:
    """A line every few seconds: how many, how many failed, and how long it will take."""

    def __init__(self) -> None:
        self._began_s = self._said_s = time.monotonic()
        self._failed = 0

    def __call__(self, outcome: Outcome, n_ended: int, n_all: int) -> None:
        """One piece has ended."""
        self._failed += outcome.fate == "failed"
        now_s = time.monotonic()
        if now_s - self._said_s < _SAY_EVERY_S and n_ended < n_all:
            return
        self._said_s = now_s
        left_s = (now_s - self._began_s) / n_ended * (n_all - n_ended)
        failed = f", {self._failed} failed" if self._failed else ""
        _say(f"  {n_ended}/{n_all}{failed}, about {left_s / 60:.1f} min left")


def _say(text: str) -> None:
    """A line for who looks; the work goes on where nobody looks any more (`| head`)."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        let_go_of_stdout()
