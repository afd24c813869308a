"""A decision loop with an NI output in a process of its own, firing trains until it is killed."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from ni_rig import settings
from safety_rig import FakeClock, Rig

from drivers.outputs.ni_daq import NiDaqOutput
from rt_engine.interfaces.errors import SafetyError
from rt_engine.safety.interlock import InterlockState


class RealClock(FakeClock):
    """The clock of this host."""

    def __init__(self) -> None:
        super().__init__()

    def now_ns(self) -> int:
        return time.perf_counter_ns()

    def step(self, ns: int) -> None:
        """Real time steps by itself."""


def main(port: str, kind: str) -> None:
    """Fire; after a trip, which a slow machine may cause, begin again."""
    rig = Rig(RealClock(), virtual=False, max_width_ms=500.0, max_duty=1.0)
    output = NiDaqOutput("led", settings(int(port), kind), rig.clock, lambda light: None)
    rig.interlock._outputs["led"] = output
    while True:
        with suppress(SafetyError):
            rig.armed()
        while rig.interlock.state is not InterlockState.TRIPPED:
            rig.beat()
            rig.interlock.tend(rig.clock.now_ns())
            if rig.interlock.state is InterlockState.ARMED:
                rig.interlock.request(rig.request(pulses=3, period_ms=120.0, width_ms=20.0))
            time.sleep(0.002)
        rig.interlock.reset("the machine was too slow")


if __name__ == "__main__":
    main(*sys.argv[1:])
