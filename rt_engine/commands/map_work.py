"""One command over one source, in whichever process has time for it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from rt_engine.commands.map_sources import LOG_SUFFIX
from rt_engine.services.many_tasks import Fate, Outcome, Task
from rt_engine.services.scheduling import ONE_THREAD

_LOOK_S = 0.2
_TOO_LARGE = 77


def work(task: Task) -> Outcome:
    """Run `spikeloop` as if it had been typed; what it wrote is moved into place only if it ended well.

    What it said stands in ``<target>.log``.
    """
    os.environ.update(ONE_THREAD)
    part, target, began_s = Path(task.part), Path(task.target), time.perf_counter()
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    with bounded(task.memory_bytes):
        code, said = _run(task.argv)
    said = said.replace(str(part), str(target.parent))  # where it will be, not where it was made
    Path(f"{target}{LOG_SUFFIX}").write_text(said, encoding="utf-8")
    seconds = time.perf_counter() - began_s
    if code != 0:
        lines = said.strip().splitlines()
        shutil.rmtree(part, ignore_errors=True)
        error_line = lines[-1] if lines else f"exit code {code}"
        return Outcome(task.name, Fate.FAILED, task.argv, task.fingerprint, seconds, error_line)
    for made in part.iterdir():
        place = target.parent / made.name
        if place.is_dir():
            shutil.rmtree(place)
        os.replace(made, place)
    shutil.rmtree(part, ignore_errors=True)
    return Outcome(task.name, Fate.DONE, task.argv, task.fingerprint, seconds)


def _run(argv: tuple[str, ...]) -> tuple[int, str]:
    """Exit code of a command, and what it said."""
    from rt_engine.cli import main

    if threading.current_thread() is not threading.main_thread():
        # A worker of dask runs its pieces in a thread, where a run of a rig could not take Ctrl-C.
        line = [sys.executable, "-m", "rt_engine", *argv]
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = main(argv)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 2
    return code, said.getvalue()


@contextlib.contextmanager
def bounded(memory_bytes: int) -> Iterator[None]:
    """End this process, and what it has started, where they take more memory: the pool begins the piece again."""
    if not memory_bytes:
        yield
        return
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(memory_bytes, done), name="spikeloop-memory", daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


def _watch(memory_bytes: int, done: threading.Event) -> None:
    own = psutil.Process()
    while not done.wait(_LOOK_S):
        taken, children = own.memory_info().rss, own.children(recursive=True)
        for child in children:
            with contextlib.suppress(psutil.Error):  # it has just ended
                taken += child.memory_info().rss
        if taken > memory_bytes:
            for child in children:
                with contextlib.suppress(psutil.Error):
                    child.kill()
            os._exit(_TOO_LARGE)
