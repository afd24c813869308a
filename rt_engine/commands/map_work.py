"""One command over one source, in whichever process has time for it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
from pathlib import Path

from rt_engine.services.many_tasks import Fate, Outcome, Task
from rt_engine.services.scheduling import ONE_THREAD

LOG_SUFFIX = ".log"


def work(task: Task) -> Outcome:
    """Run `spikeloop` as if it had been typed; what it wrote is moved into place only if it ended well.

    What it said stands in ``<target>.log``.
    """
    from rt_engine.cli import main

    os.environ.update(ONE_THREAD)
    part, target, began_s = Path(task.part), Path(task.target), time.perf_counter()
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = main(task.argv)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 2
    Path(f"{target}{LOG_SUFFIX}").write_text(said.getvalue(), encoding="utf-8")
    seconds = time.perf_counter() - began_s
    if code != 0:
        lines = said.getvalue().strip().splitlines()
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
