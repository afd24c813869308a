"""Entry point of a service process."""

from __future__ import annotations

import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading

from rt_engine.interfaces.errors import SpikeloopError
from rt_engine.services.base import Service
from rt_engine.services.held_memory import hold_memory
from rt_engine.services.scheduling import apply_scheduling
from rt_engine.services.setup import Setup

_CLASSES = {
    "acquisition": "AcquisitionService",
    "inference": "InferenceService",
    "stimulation": "StimulationService",
    "recording": "RecordingService",
    "telemetry": "TelemetryService",
}
_GRACE_S = 5.0


def run_service(setup: Setup, stop: multiprocessing.connection.Connection | None = None) -> None:
    """Run one service until it is told to stop or its parent is gone; ends the process.

    Ctrl-C is left to the parent, which stops the services in order.

    Parameters
    ----------
    setup : Setup
    stop : Connection, optional
        End of a pipe whose closing also means: stop.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    module = importlib.import_module(f"rt_engine.services.{setup.kind}")
    try:
        # Before the service makes sockets, whose threads are placed as this one is and share its heap.
        refused = apply_scheduling(setup.rig_config().scheduling, setup.kind)
        kind: type[Service] = getattr(module, _CLASSES[setup.kind])
        if kind.held_bytes:
            hold_memory(kind.held_bytes)
        service = kind(setup)
    except SpikeloopError as error:
        sys.stderr.write(f"{setup.service}: {error}\n")
        sys.exit(error.exit_code)
    service.refused = refused
    threading.Thread(target=_follow_parent, args=(service, stop), daemon=True, name="follow-parent").start()
    sys.exit(service.run())


def _follow_parent(service: Service, stop: multiprocessing.connection.Connection | None) -> None:
    """Stop the service when its parent dies or says so, in order first, by force after a grace."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    multiprocessing.connection.wait([parent.sentinel, *([] if stop is None else [stop])])
    service.stopping.set()
    threading.Event().wait(_GRACE_S)
    os._exit(3)
