"""Times of a streaming program in the clock of this computer, where the program may live on another one."""

from __future__ import annotations

import msgspec

from drivers.microscopes.arrival_times import ArrivalTimes
from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.messages import FrameHeader
from rt_engine.interfaces.stream_config import StreamMicroscope as StreamConfig

_OLDEST_NS = 60 * NS_PER_S
"""A frame that is older by its own words was stamped by another clock."""


class StreamTimes:
    """What is made of `t_scan_ns`.

    A program that connects with a key can ask the rig for its clock and has to stamp in it: what cannot be is refused.
    One on a private link has nobody to ask: its frames are dated by their arrival, the quickest of the last ones taken
    for none. One on this computer has this clock.

    Parameters
    ----------
    config : StreamMicroscope
    clock : Clock
    """

    def __init__(self, config: StreamConfig, clock: Clock) -> None:
        self._clock = clock
        self._looks = config.listen is not None
        self._arrivals = ArrivalTimes() if config.is_private_link else None
        self._boot = ""

    def translated(self, header: FrameHeader) -> FrameHeader:
        """The header with the times of this computer; to be called when it arrives."""
        if self._arrivals is None:
            return header
        if header.boot_id != self._boot:
            self._arrivals.forget()
            self._boot = header.boot_id
        t_scan_ns = self._arrivals.happened_ns(header.t_scan_ns, self._clock.now_ns())
        own_ns = header.t_scan_uncertainty_ns or 0
        return msgspec.structs.replace(
            header, t_scan_ns=t_scan_ns, t_scan_uncertainty_ns=own_ns + self._arrivals.uncertainty_ns
        )

    def misfit(self, header: FrameHeader) -> str:
        """Why its time cannot be one of this clock; empty if it can."""
        if not self._looks:
            return ""
        age_ns = self._clock.now_ns() - header.t_scan_ns
        if -(header.t_scan_uncertainty_ns or 0) <= age_ns <= _OLDEST_NS:
            return ""
        where = f"{age_ns / NS_PER_S:.3f} s old" if age_ns > 0 else f"{-age_ns / NS_PER_S:.3f} s in the future"
        return f"t_scan_ns is {where} by the clock here, which the program can ask for: `t_ns` of status"
