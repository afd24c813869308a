"""A microscope that works in trials stands still between them: its silence is a pause, not a fault."""

from __future__ import annotations

from rt_engine.safety.watchdog import live_silence_ns


class TrialPause:
    """Tells when the source has paused by itself, and when it goes on.

    Parameters
    ----------
    frame_period_ns : int
        Silence of half of what would trip a live run counts as a pause.

    Attributes
    ----------
    is_paused : bool
    """

    def __init__(self, frame_period_ns: int) -> None:
        self._after_ns = live_silence_ns(frame_period_ns) // 2
        self._last_ns: int | None = None
        self.is_paused = False

    def see(self, has_frame: bool, now_ns: int) -> bool:
        """Note one look at the source; True where it has just paused or gone on.

        Parameters
        ----------
        has_frame : bool
            Whether a frame was there.
        now_ns : int
        """
        if has_frame or self._last_ns is None:
            self._last_ns = now_ns
        was, self.is_paused = self.is_paused, now_ns - self._last_ns >= self._after_ns
        return was != self.is_paused

    def forget(self) -> None:
        """Wait anew: nobody has looked for a while."""
        self._last_ns, self.is_paused = None, False
