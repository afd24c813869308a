"""Are all engines alive, where every plane has one: light needs each of them."""

from __future__ import annotations

from collections.abc import Iterable

from rt_engine.interfaces.messages import Mode
from rt_engine.safety.watchdog import HeartbeatMonitor


class PlaneHeartbeats(HeartbeatMonitor):
    """One heartbeat out of those of several planes; fresh only while each of them is.

    Parameters
    ----------
    live_bound_ns, idle_bound_ns : int
        As in `HeartbeatMonitor`, for each plane.
    planes : iterable of int
    """

    def __init__(self, live_bound_ns: int, idle_bound_ns: int, planes: Iterable[int]) -> None:
        self._planes = {plane: HeartbeatMonitor(live_bound_ns, idle_bound_ns) for plane in planes}
        super().__init__(live_bound_ns, idle_bound_ns)

    def set_live_bound(self, live_bound_ns: int) -> None:
        """Take another bound for live engines, of every plane."""
        super().set_live_bound(live_bound_ns)
        for one in self._planes.values():
            one.set_live_bound(live_bound_ns)

    def beat(self, t_ns: int, mode: Mode, plane: int = 0) -> None:
        """Take a sign of life of one plane; of one that is not watched it changes nothing."""
        if plane in self._planes:
            self._planes[plane].beat(t_ns, mode)
        modes = [one.mode for one in self._planes.values()]
        self.mode = next((one for one in modes if one is not Mode.LIVE), Mode.LIVE) if None not in modes else None

    def beat_all(self, t_ns: int, mode: Mode) -> None:
        """Take a sign of life of every plane."""
        for plane in self._planes:
            self.beat(t_ns, mode, plane)

    def forget(self) -> None:
        """As before the first heartbeat, of every plane."""
        super().forget()
        for one in self._planes.values():
            one.forget()

    def age_ns(self, now_ns: int) -> int:
        """Time since the last sign of life of the plane that has been silent longest."""
        return max(one.age_ns(now_ns) for one in self._planes.values())

    def fresh(self, now_ns: int) -> bool:
        """True if every plane has spoken within its bound, and not in the future."""
        return all(one.fresh(now_ns) for one in self._planes.values())

    def silent(self, now_ns: int) -> str:
        """Whom one waits for, in words."""
        late = [plane for plane, one in self._planes.items() if not one.fresh(now_ns)]
        return f"the engine of plane {', '.join(map(str, late))}"
