"""`spikeloop map`: one command over many sources."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, count, new_command
from rt_engine.interfaces.errors import ConfigError

if TYPE_CHECKING:
    from rt_engine.services.many_tasks import Outcome, Task

SUFFIXES = {
    **{"calibrate": ".h5", "infer": ".npz", "export": ".nwb", "score": ".json", "replay": "", "train-data": ".json"}
}
"""What each command writes; `replay` a folder, `train-data` samples beside it."""
_OPTIONS = {"replay": "--output", "score": "--json", "train-data": "--json"}
_SAY_EVERY_S = 5.0
_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")


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
        No sources, a folder that cannot be written, or a scheduler that is not there.
    """
    from rt_engine.commands.map_work import work
    from rt_engine.services.many_pools import open_pool
    from rt_engine.services.many_tasks import Fate, Ledger, run_many

    tasks, into = _tasks(arguments), Path(arguments.into)
    into.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(into)
    n_done_before = sum(ledger.is_done(task) for task in tasks)
    sys.stdout.write(f"{len(tasks)} sources, {n_done_before} done before\n")
    tell = _Progress()
    if arguments.cmd == "replay" and arguments.workers != 1:
        raise ConfigError("replays share the ports of their rig", "give --workers 1", key="--workers")
    with open_pool(arguments.scheduler, arguments.workers) as pool:
        outcomes = run_many(tasks, work, pool.make, pool.n_workers, ledger, tell)
    failed = [one for one in outcomes if one.fate is Fate.FAILED]
    for one in failed:
        sys.stderr.write(f"failed: {one.name}: {one.error}\n")
    n_done = len(tasks) - len(failed)
    sys.stdout.write(f"{n_done} of {len(tasks)} done" + (f", {len(failed)} failed\n" if failed else "\n"))
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
        sys.stdout.write(f"  {n_ended}/{n_all}{failed}, about {left_s / 60:.1f} min left\n")
        sys.stdout.flush()


def _tasks(arguments: argparse.Namespace) -> list[Task]:
    """A task for each source; what follows ``--with`` goes to every one of them."""
    from rt_engine.services.many_tasks import Task

    sources, options = list(arguments.sources), arguments.options
    if arguments.list:
        try:
            lines = Path(arguments.list).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", file=arguments.list, key="--list") from error
        sources += [line.strip() for line in lines if line.strip()]
    if not sources:
        raise ConfigError("no sources", "name files or folders, or a --list", key="SOURCE")
    into, cmd = Path(arguments.into).absolute(), arguments.cmd
    names = _names(sources)
    tasks = []
    for source, name in zip(sources, names, strict=True):
        part, output = into / ".part" / name, f"{name}{SUFFIXES[cmd]}"
        option = _OPTIONS.get(cmd, "-o")
        argv = (cmd, str(Path(source).absolute()), option, str(part / output), *options)
        if cmd == "score":
            argv += ("-o", str(part / f"{name}.png"))
        if cmd == "train-data":
            argv += ("--corpus", str(part))
        tasks.append(Task(name, argv, _fingerprint(Path(source)), str(part), str(into / output)))
    return tasks


def _names(sources: list[str]) -> list[str]:
    """A name for each source: its own, with those of the folders above it where several have the same."""
    paths = [Path(source).absolute() for source in sources]
    for depth in range(1, 6):
        names = [_PLAIN.sub("_", "-".join([*path.parts[-depth:-1], path.stem])).lstrip(".") or "_" for path in paths]
        if len(set(names)) == len(names):
            return names
    return names


def _fingerprint(source: Path) -> str:
    """Size and time of change; of a folder, of what lies in it."""
    try:
        files = sorted(source.iterdir()) if source.is_dir() else [source]
        facts = [(path.name, path.stat()) for path in files]
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(source)) from error
    return ";".join(f"{name}:{fact.st_size}:{fact.st_mtime_ns}" for name, fact in facts)[:2000]
