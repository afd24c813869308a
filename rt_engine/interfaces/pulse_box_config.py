"""What an output on a serial pulse box needs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rt_engine.interfaces.file_schema import OrFile
from rt_engine.interfaces.power_table import MeasuredPower
from rt_engine.interfaces.strict import Strict


class PulseBoxSettings(Strict):
    """A microcontroller with `drivers/outputs/pulse_box/pulse_box.ino` that gates a source with one power.

    `port` is ``COM5``, ``/dev/ttyACM0``, or ``socket://host:port``. The box goes dark by itself when it has not been
    fed for `watchdog_ms`.
    """

    driver: Literal["pulse_box"]
    port: str = Field(min_length=1)
    watchdog_ms: float = Field(ge=20, le=100)
    power: Annotated[MeasuredPower | None, OrFile()] = Field(
        description="measured at the sample; null: uncalibrated, for --dry-run only"
    )
    measured_by: str | None = Field(None, description="the input (driver ni_edges) that sees each pulse begin")

    @property
    def highest_mw(self) -> float | None:
        """The power that was measured; None where none was."""
        return None if self.power is None else self.power.power_mw

    @property
    def longest_wait_ms(self) -> float:
        """Light begins with the command."""
        return 0.0
