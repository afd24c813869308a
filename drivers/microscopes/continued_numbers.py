"""Frame numbers of a vendor that begin again, carried on in ours: none is used twice, and planes keep their place."""

from __future__ import annotations


class ContinuedNumbers:
    """What a vendor counts from its start becomes a number that only grows.

    Parameters
    ----------
    frames_per_volume : int
        A frame stays at its place in the volume, wherever the vendor begins anew.

    Notes
    -----
    Where the vendor begins anew at least one number is left out, so that everybody who counts knows of the gap.
    """

    def __init__(self, frames_per_volume: int = 1) -> None:
        self._per_volume = frames_per_volume
        self._base, self._last = 0, -1
        self._vendors_last = -1

    def see(self, number: int, *, is_anew: bool = False) -> tuple[int, bool]:
        """Our number of the vendor's frame, and whether the vendor has begun anew just before it.

        Parameters
        ----------
        number : int
            As the vendor counts, from 0 or 1.
        is_anew : bool
            The vendor is known to have begun anew; else it is so where its numbers do not grow.
        """
        is_anew = self._last >= 0 and (is_anew or number <= self._vendors_last)
        if is_anew:
            volumes = -(-(self._last + 2 - number) // self._per_volume)
            self._base = max(self._base, volumes * self._per_volume)
        self._vendors_last, self._last = number, self._base + number
        return self._last, is_anew
