"""Pieces of work that end well, end badly, or take their worker with them; importable by a worker."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from rt_engine.commands.map_work import bounded
from rt_engine.services.many_tasks import Fate, Outcome, Task


def task(folder: Path, name: str, kind: str = "good", fingerprint: str = "1") -> Task:
    """A piece whose output is a file that counts how often it was made."""
    return Task(name, (kind,), fingerprint, str(folder / ".part" / name), str(folder / name))


def work(task: Task) -> Outcome:
    """By the first word of its command line: ``good``, ``bad``, ``raises``, ``dies once``, ``dies``, ``waits``."""
    (kind,) = task.argv
    target = Path(task.target)
    died = target.with_suffix(".died")
    if kind == "dies" or (kind == "dies once" and not died.exists()):
        died.touch()
        os._exit(9)
    if kind == "waits":
        with bounded(task.memory_bytes):
            threading.Event().wait(30)
    if kind == "raises":
        raise ValueError("out of tea")
    if kind == "bad":
        return Outcome(task.name, Fate.FAILED, task.argv, task.fingerprint, 0.0, "no good")
    with target.open("a", encoding="utf-8") as stream:
        stream.write("made\n")
    return Outcome(task.name, Fate.DONE, task.argv, task.fingerprint, 0.0)
