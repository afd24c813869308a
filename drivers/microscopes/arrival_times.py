"""When something happened, from when word of it arrived and what a device's own clock says: the least delay counts."""

from __future__ import annotations

from collections import deque

_KEPT = 300


class ArrivalTimes:
    """Word of a frame comes late by a varying time; the fastest of the last ones shows where the device's clock stands.

    Attributes
    ----------
    uncertainty_ns : int
        Spread of the delays that are not explained: half of them lie within it.

    Notes
    -----
    The least delay itself (read-out, transfer) cannot be known from here and is taken for none: times may be that much
    too late, all by the same. A loop-back or frame clock measures it.
    """

    def __init__(self) -> None:
        self._offsets_ns: deque[int] = deque(maxlen=_KEPT)
        self.uncertainty_ns = 0

    def happened_ns(self, device_ns: int, arrived_ns: int) -> int:
        """Time on this host, never later than the arrival."""
        self._offsets_ns.append(arrived_ns - device_ns)
        least = min(self._offsets_ns)
        self.uncertainty_ns = sorted(self._offsets_ns)[len(self._offsets_ns) // 2] - least
        return min(arrived_ns, device_ns + least)

    def forget(self) -> None:
        """The device's clock begins anew."""
        self._offsets_ns.clear()
