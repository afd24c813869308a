"""Is the engine alive: freshness of its heartbeat, which is every `spikes` message."""

from __future__ import annotations

from rt_engine.interfaces.messages import Mode

MIN_LIVE_SILENCE_NS = 1_000_000_000
LIVE_SILENCE_FRAMES = 10


def live_silence_ns(frame_period_ns: int) -> int:
    """Longest silence of a live engine that is not yet a fault: ten frames, but not less than a second.

    Parameters
    ----------
    frame_period_ns : int

    Returns
    -------
    int
        Nanoseconds. Rigs at 0.1 Hz exist, so the bound scales with the frame; each decision has its own, tighter, age.
    """
    return max(MIN_LIVE_SILENCE_NS, LIVE_SILENCE_FRAMES * frame_period_ns)


class HeartbeatMonitor:
    """Age of the last sign of life against the bound of the mode it announced.

    Parameters
    ----------
    live_bound_ns : int
        Longest silence while `live`.
    idle_bound_ns : int
        Longest silence in every other mode.

    Attributes
    ----------
    mode : Mode or None
        Announced by the last heartbeat; None before the first.
    """

    def __init__(self, live_bound_ns: int, idle_bound_ns: int) -> None:
        self._idle_bound_ns = idle_bound_ns
        self.set_live_bound(live_bound_ns)
        self.mode: Mode | None = None
        self._last_ns = 0

    def set_live_bound(self, live_bound_ns: int) -> None:
        """Take another bound for a live engine, once it is known how often frames come."""
        self.live_bound_ns = live_bound_ns
        self.idle_bound_ns = max(self._idle_bound_ns, live_bound_ns)

    def beat(self, t_ns: int, mode: Mode, plane: int = 0) -> None:
        """Take a sign of life that the engine gave at `t_ns`; an older one than the last changes nothing.

        `plane` matters where several are watched (`plane_heartbeats`).
        """
        if self.mode is None or t_ns >= self._last_ns:
            self._last_ns, self.mode = t_ns, mode

    def beat_all(self, t_ns: int, mode: Mode) -> None:
        """Take a sign of life of every engine that is watched."""
        self.beat(t_ns, mode)

    def forget(self) -> None:
        """As before the first heartbeat: after a trip the engine has to show itself again."""
        self.mode = None

    @property
    def bound_ns(self) -> int:
        """Longest silence allowed now."""
        return self.live_bound_ns if self.mode is Mode.LIVE else self.idle_bound_ns

    def age_ns(self, now_ns: int) -> int:
        """Time since the last sign of life."""
        return now_ns - self._last_ns

    def silent(self, now_ns: int) -> str:
        """Whom one waits for, in words."""
        return "the engine"

    def fresh(self, now_ns: int) -> bool:
        """True if the engine has spoken within the bound, and not in the future."""
        return self.mode is not None and 0 <= self.age_ns(now_ns) <= self.bound_ns
