"""A decision loop with an NI output in a process of its own, from opening to closing again and again until killed."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from ni_rig import settings
from safety_rig import FakeClock, Rig

from drivers.outputs.ni_daq import NiDaqOutput
from rt_engine.interfaces.errors import SafetyError
from rt_engine.interfaces.messages import Outcome
from rt_engine.safety.interlock import InterlockState

SHUTTER = {"counter": "ctr2", "lead_ms": 5.0, "lag_ms": 5.0}


class RealClock(FakeClock):
    """The clock of this host."""

    def __init__(self) -> None:
        super().__init__()

    def now_ns(self) -> int:
        return time.perf_counter_ns()

    def step(self, ns: int) -> None:
        """Real time steps by itself."""


def say(phase: str) -> None:
    """Tell what begins now, before it does."""
    sys.stdout.write(phase + "\n")
    sys.stdout.flush()


def main(port: str, kind: str) -> None:
    """Open, arm, fire two trains, disarm and close, again and again; after a trip of a slow machine too."""
    pulse, _, shutter = kind.partition("+")
    changes = {"shutter": SHUTTER} if shutter else {}
    rig = Rig(RealClock(), virtual=False, max_width_ms=500.0, max_duty=1.0, max_rate_hz=50.0, min_gap_ms=0.01)
    output = NiDaqOutput("led", settings(int(port), pulse, **changes), rig.clock, lambda light: None)
    lock = rig.interlock
    rig.outputs["led"] = lock._outputs["led"] = output  # type: ignore[assignment]
    while True:
        say("opening")
        lock.self_test()
        say("arming")
        with suppress(SafetyError):
            rig.armed()
        say("firing")
        delivered = 0
        while lock.is_armed and (delivered < 2 or lock.state is InterlockState.FIRING):
            rig.beat()
            lock.tend(rig.clock.now_ns())
            if lock.state is InterlockState.ARMED and delivered < 2:
                power_mw = 4.0 + 4.0 * delivered if pulse == "analog" else 8.0
                request = rig.request(pulses=3, period_ms=120.0, width_ms=60.0, power_mw=power_mw)
                if lock.request(request).outcome is Outcome.DELIVERED:
                    delivered += 1
                    say("lit")
            time.sleep(0.002)
        say("disarming")
        lock.disarm("enough")
        output.close()
        if lock.state is InterlockState.TRIPPED:
            lock.reset("the machine was too slow")


if __name__ == "__main__":
    main(*sys.argv[1:])
