"""One planned train of pulses in integers."""

from __future__ import annotations

from typing import NamedTuple


class Train(NamedTuple):
    """One planned train of pulses in integers."""

    pulses: int
    width_us: int
    period_us: int
    power_uw: int
    targets_yx_px: tuple[tuple[float, float], ...]

    @property
    def pulse_nj(self) -> int:
        """Energy of one pulse on one target, rounded up (uW x us = pJ)."""
        return -(-self.power_uw * self.width_us // 1000)

    @property
    def target_nj(self) -> int:
        """Energy of the train on one target."""
        return self.pulses * self.pulse_nj

    @property
    def duration_ns(self) -> int:
        """From the first rise to the last fall."""
        return ((self.pulses - 1) * self.period_us + self.width_us) * 1000

    @property
    def energy_nj(self) -> int:
        """Energy of the train on all targets."""
        return len(self.targets_yx_px) * self.target_nj
