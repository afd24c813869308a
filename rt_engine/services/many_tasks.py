"""Many pieces of work over a pool: what is done stays done, what failed is named, a dead worker costs its piece."""

from __future__ import annotations

import concurrent.futures
import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from enum import StrEnum
from pathlib import Path

import msgspec

from rt_engine.interfaces.errors import ConfigError

LEDGER_FILE = "map.jsonl"
MOST_ATTEMPTS = 3
"""A piece whose worker died is begun again so often: it may have died of a neighbour's memory."""
_AHEAD = 2
"""Pieces handed out for each worker, so that lists of any length need the memory of a few."""


class Task(msgspec.Struct, frozen=True):
    """One piece of work.

    Attributes
    ----------
    name : str
        Unique in its list; names the output.
    argv : tuple of str
        Command line of `spikeloop`; its output goes to `part`.
    fingerprint : str
        Of the source (size and time of change): another one is another piece of work.
    part, target : str
        Folder to work in, and where its content goes once it is whole.
    problem : str
        Why it cannot be begun; empty if it can.
    memory_bytes : int
        A worker that takes more is ended; 0 for no bound.
    """

    name: str
    argv: tuple[str, ...]
    fingerprint: str
    part: str
    target: str
    problem: str = ""
    memory_bytes: int = 0


class Fate(StrEnum):
    """What became of a piece."""

    DONE = "done"
    FAILED = "failed"


class Outcome(msgspec.Struct, frozen=True):
    """A line of the ledger."""

    name: str
    fate: Fate
    argv: tuple[str, ...]
    fingerprint: str
    seconds: float
    error: str = ""


Work = Callable[[Task], Outcome]
Say = Callable[[Outcome, int, int], None]


class Ledger:
    """``map.jsonl``: one line for each piece that ended, flushed; the last one of a command and name counts.

    Parameters
    ----------
    folder : Path
        Of the outputs.

    Attributes
    ----------
    newest : dict of (str, str) to Outcome
        By command and name.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEDGER_FILE
        self.newest: dict[tuple[str, str], Outcome] = {}
        if self._path.is_file():
            for line in self._path.read_bytes().splitlines():
                self._read(line)

    def _read(self, line: bytes) -> None:
        """A line that was torn by a power cut is a piece that is done again."""
        try:
            outcome = msgspec.json.decode(line, type=Outcome)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        self.newest[_key(outcome)] = outcome

    def is_done(self, task: Task) -> bool:
        """True if this very piece has been done and its output is still there."""
        known = self.newest.get(_key(task))
        return (
            known is not None
            and known.fate is Fate.DONE
            and (known.argv, known.fingerprint) == (task.argv, task.fingerprint)
            and Path(task.target).exists()
        )

    def write(self, outcome: Outcome) -> None:
        """Add a line."""
        self.newest[_key(outcome)] = outcome
        with self._path.open("ab") as stream:
            stream.write(msgspec.json.encode(outcome) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())


def _key(piece: Task | Outcome) -> tuple[str, str]:
    """Two commands may write outputs of one name, with suffixes of their own."""
    return piece.argv[0], piece.name


def run_many(
    tasks: Iterable[Task],
    work: Work,
    make_pool: Callable[[], Executor],
    n_workers: int,
    ledger: Ledger,
    say: Say = lambda outcome, n_done, n_all: None,
) -> list[Outcome]:
    """Do what is not done yet; returns the outcomes of this call.

    Parameters
    ----------
    tasks : iterable of Task
    work : callable
        Does one; must be importable by name in another process.
    make_pool : callable
        A new pool; called again where a pool broke because a worker died.
    n_workers : int
        Of the pool.
    ledger : Ledger
    say : callable
        Is told each outcome, how many have ended, and of how many.

    Raises
    ------
    ConfigError
        Two tasks have the same name.
    """
    listed = list(tasks)
    if len({task.name for task in listed}) < len(listed):
        raise ConfigError("two sources would have the same output", "give them names of their own")
    waiting = deque(task for task in listed if not ledger.is_done(task))
    n_all, attempts, outcomes = len(waiting), dict.fromkeys((task.name for task in waiting), 0), []

    def end(outcome: Outcome) -> None:
        ledger.write(outcome)
        outcomes.append(outcome)
        say(outcome, len(outcomes), n_all)

    for task in [one for one in waiting if one.problem]:
        waiting.remove(task)
        end(Outcome(task.name, Fate.FAILED, task.argv, task.fingerprint, 0.0, task.problem))
    suspects: deque[Task] = deque()
    while waiting or suspects:
        # A piece that was lost with a worker is begun again alone, so that it takes no innocent one with it.
        batch = waiting if waiting else deque([suspects.popleft()])
        for task in _one_pool(batch, work, make_pool, n_workers, end):
            attempts[task.name] += 1
            if attempts[task.name] < MOST_ATTEMPTS:
                suspects.append(task)
            else:
                text = f"{_died(task)}, {MOST_ATTEMPTS} times"
                end(Outcome(task.name, Fate.FAILED, task.argv, task.fingerprint, 0.0, text))
    return outcomes


def _died(task: Task) -> str:
    if task.memory_bytes:
        return f"its worker died (too little memory? it may take {task.memory_bytes / 1e9:g} GB)"
    return "its worker died (too little memory?)"


def _one_pool(
    waiting: deque[Task],
    work: Work,
    make_pool: Callable[[], Executor],
    n_workers: int,
    end: Callable[[Outcome], None],
) -> list[Task]:
    """Work until nothing waits or the pool is broken; returns the pieces that were lost with their workers."""
    lost: list[Task] = []
    broken = False
    under_way: dict[Future[Outcome], Task] = {}
    pool = make_pool()
    try:
        while (waiting and not broken) or under_way:
            while waiting and not broken and len(under_way) < _AHEAD * n_workers:
                task = waiting.popleft()
                try:
                    under_way[pool.submit(work, task)] = task
                except BrokenProcessPool:
                    waiting.appendleft(task)
                    broken = True
            done, _ = concurrent.futures.wait(under_way, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                task = under_way.pop(future)
                error = future.exception()
                if error is None:
                    end(future.result())
                elif isinstance(error, BrokenProcessPool):
                    broken = True
                    lost.append(task)
                else:
                    text = f"{type(error).__name__}: {error}"
                    end(Outcome(task.name, Fate.FAILED, task.argv, task.fingerprint, 0.0, text))
    finally:
        for future in under_way:  # after Ctrl-C: what has not begun is not begun
            future.cancel()
        pool.shutdown(wait=True)
    return lost
