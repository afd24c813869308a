"""What an input is: the protocols that drivers of clocks, lines and voltages fulfil, and what they tell."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class LineEdge(NamedTuple):
    """When a line changed, on the clock of this host, and to what."""

    t_edge_ns: int
    is_high: bool


class SampleBlock(NamedTuple):
    """Samples in a row: volts, float32, shape (n_samples,); `t_first_ns` is when the first was taken, on this host."""

    t_first_ns: int
    volts: NDArray[np.float32]


class ClockTold(NamedTuple):
    """How the clock of a device runs against this host's, and what the times that were told may be wrong by at most."""

    drift_ppm: float
    drift_uncertainty_ppm: float
    jitter_ns: float
    uncertainty_ns: int


@runtime_checkable
class TellsClock(Protocol):
    """An input whose device has a clock of its own."""

    def tell_clock(self) -> ClockTold | None:
        """Of the edges told since the last call; None if there were none. Same thread as the rest."""
        ...


@runtime_checkable
class Input(Protocol):
    """Something that is read. Belongs to one thread, the acquisition's; the constructor touches no hardware.

    `open` and `close` may be repeated, and one after the other; `close` never raises. While it is not open it has
    nothing to tell. An input is one of the three kinds below.
    """

    name: str

    def open(self) -> None:
        """Begin. Raises DeviceError, and is then as before."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


@runtime_checkable
class EdgeInput(Input, Protocol):
    """Edges with their times: a frame clock, the loop-back of the light."""

    def take_edges(self) -> list[LineEdge]:
        """Edges since the last call, in order, each once; at most a few milliseconds.

        Raises DeviceError when the device fails.
        """
        ...


@runtime_checkable
class LevelInput(EdgeInput, Protocol):
    """A line whose level is known too: `is_high` is that of the last edge told. A stop line, a lever."""

    is_high: bool


@runtime_checkable
class SampleInput(Input, Protocol):
    """A voltage, sampled evenly, `sample_rate_hz` times a second: wheel, photodiode, lick sensor."""

    sample_rate_hz: float

    def take_block(self) -> SampleBlock | None:
        """Samples since the last call, none twice and none left out; None where there are none.

        Raises DeviceError when the device fails. The array belongs to the caller.
        """
        ...


AnyInput = EdgeInput | LevelInput | SampleInput
