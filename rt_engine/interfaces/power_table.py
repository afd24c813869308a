"""Power at the sample against the voltage that commands it, as it was measured; nothing outside the measurement."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from rt_engine.interfaces.errors import LimitError
from rt_engine.interfaces.file_schema import schema_of_file
from rt_engine.interfaces.strict import Strict


class PowerTable(Strict):
    """A measurement: `volts` that were commanded, and the `power_mw` at the sample that came of each.

    Both rise: beyond its maximum a Pockels cell or AOM is no table. Between two steps the line through them counts.
    """

    date: date
    person: str = Field(min_length=1)
    volts: tuple[float, ...] = Field(min_length=2)
    power_mw: tuple[float, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _rises(self) -> PowerTable:
        if len(self.volts) != len(self.power_mw):
            raise ValueError(f"{len(self.volts)} volts and {len(self.power_mw)} powers are no pairs")
        for what, values in (("volts", self.volts), ("power_mw", self.power_mw)):
            if any(later <= earlier for earlier, later in pairwise(values)):
                raise ValueError(f"{what} must rise from each step to the next: {list(values)}")
        if self.power_mw[0] < 0:
            raise ValueError("power_mw cannot be negative")
        return self

    def volts_for(self, device: str, power_mw: float) -> float:
        """Voltage for a power at the sample.

        Parameters
        ----------
        device : str
            Named in the error.
        power_mw : float

        Raises
        ------
        LimitError
            The power was not measured, neither below nor above: nothing is extrapolated.
        """
        lowest, highest = self.power_mw[0], self.power_mw[-1]
        if not lowest <= power_mw <= highest:
            raise LimitError(
                device, "power_mw outside its calibration", power_mw, lowest if power_mw < lowest else highest
            )
        i = max(1, bisect_left(self.power_mw, power_mw))
        below_mw, above_mw = self.power_mw[i - 1], self.power_mw[i]
        share = (power_mw - below_mw) / (above_mw - below_mw)
        return self.volts[i - 1] + share * (self.volts[i] - self.volts[i - 1])


class MeasuredPower(Strict):
    """Power at the sample of a source that is either on or off, as it was measured."""

    date: date
    person: str = Field(min_length=1)
    power_mw: float = Field(gt=0)


def power_schema() -> str:
    """JSON Schema of a power file, for editors; committed as ``hardware_configs/power.schema.json``."""
    return schema_of_file(PowerTable | MeasuredPower, "Power at the sample, as it was measured")


def read_measured_files(rig: dict[str, Any], folder: Path, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """A rig as written, with every measurement of an output that stands in a file of its own put in its place.

    Parameters
    ----------
    rig : dict
        As read; not changed.
    folder : Path
        Of the rig file: names of tables are relative to it.
    read : callable
        Reads a YAML mapping.

    Raises
    ------
    ConfigError
        A file cannot be read.
    """
    outputs = rig.get("outputs")
    if not isinstance(outputs, dict):
        return rig
    filled = dict(outputs)
    for name, output in outputs.items():
        if not isinstance(output, dict):
            continue
        filled[name] = dict(output)
        for section, key in (("", "power"), ("pulse", "power"), ("", "registration")):
            part = output.get(section) if section else output
            if isinstance(part, dict) and isinstance(part.get(key), str):
                whole = {key: read(folder / part[key])}
                filled[name] |= {section: part | whole} if section else whole
    return rig | {"outputs": filled}
