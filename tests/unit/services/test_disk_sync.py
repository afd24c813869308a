"""The disk is asked from a thread of its own; the asker never waits, and learns of a failure."""

from __future__ import annotations

import threading

from rt_engine.interfaces.errors import RecordingError
from rt_engine.services.disk_sync import DiskSync


def test_asking_returns_while_the_disk_is_still_busy():
    busy, go_on, done = threading.Event(), threading.Event(), []

    def sync():
        busy.set()
        assert go_on.wait(60)
        done.append(1)

    disk = DiskSync(sync)
    disk.ask()
    assert busy.wait(60)
    disk.ask()
    assert done == []
    go_on.set()
    disk.close()
    assert done


def test_a_failure_is_kept_for_the_asker_and_the_last_sync_comes_at_the_end():
    calls = []

    def sync():
        calls.append(1)
        raise RecordingError("no space left on device")

    disk = DiskSync(sync)
    disk.close()
    disk.close()
    assert calls
    assert "no space" in str(disk.failure)
