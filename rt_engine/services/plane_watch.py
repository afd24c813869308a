"""What a source delivers against what the rig file asks of it: planes that never come, and those nobody asked for."""

from __future__ import annotations

from collections.abc import Iterable


class PlaneWatch:
    """Follows which planes and channels have been seen.

    Parameters
    ----------
    planes : iterable of int
        Planes that are inferred.
    channel : int
        Channel that carries the indicator.
    patience_ns : int
        How long after the first frame every plane must have come.
    structural_channel : int, optional
        Channel that is used beside it, and not worth a word.
    """

    def __init__(
        self, planes: Iterable[int], channel: int, patience_ns: int, structural_channel: int | None = None
    ) -> None:
        self._planes, self._channel = tuple(planes), channel
        self._used = (channel, structural_channel)
        self._patience_ns = patience_ns
        self._begun_ns: int | None = None
        self._wanted = {(plane, channel) for plane in self._planes}
        self._seen: set[tuple[int, int]] = set()

    def bear(self, silence_ns: int) -> None:
        """Wait at least so long for a plane, for a source that is slow."""
        self._patience_ns = max(self._patience_ns, silence_ns)

    def see(self, plane: int, channel: int, now_ns: int) -> str:
        """Note one message; what a person should know of a plane or channel that is seen first, else nothing."""
        if (plane, channel) in self._seen:
            return ""
        self._seen.add((plane, channel))
        self._begun_ns = now_ns if self._begun_ns is None else self._begun_ns
        self._wanted.discard((plane, channel))
        if plane in self._planes and channel in self._used:
            return ""
        what = f"channel {channel} of plane {plane}" if plane in self._planes else f"plane {plane}"
        planes = ", ".join(map(str, self._planes))
        return (
            f"{what} comes as well: it is recorded and passed on, not inferred "
            f"(planes {planes}, channel {self._channel} are: keys `planes` and `channel` of the rig file)"
        )

    def missing(self, now_ns: int) -> tuple[int, ...]:
        """Planes that have not come though others have, for longer than the patience."""
        if not self._wanted or self._begun_ns is None or now_ns - self._begun_ns < self._patience_ns:
            return ()
        return tuple(sorted(plane for plane, _ in self._wanted))

    def seen(self) -> str:
        """All that has come, as ``plane.channel``."""
        return ", ".join(f"{plane}.{channel}" for plane, channel in sorted(self._seen))
