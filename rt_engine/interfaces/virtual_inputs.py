"""Inputs that exist only in the program: the twins of a line, a counter on a terminal, and a sampled voltage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rt_engine.interfaces.strict import Strict


class VirtualLine(Strict):
    """A digital line that exists only in the program: `spikeloop ctl press LINE` changes it."""

    driver: Literal["virtual"]
    level: Literal["low", "high"] = "high"


class VirtualEdgesInput(Strict):
    """Rising edges that exist only in the program: where a frame begins, where virtual light begins, or by `press`."""

    driver: Literal["virtual_edges"]
    follows: Literal["frames", "light", "hand"] = "hand"


class VirtualVoltageInput(Strict):
    """A sampled voltage that exists only in the program: a wave, and `high_v` on top of it while it is pressed."""

    driver: Literal["virtual_voltage"]
    sample_rate_hz: float = Field(1000.0, gt=0, le=100_000)
    high_v: float = Field(5.0, gt=0, le=10)
    wave_v: float = Field(0.0, ge=0, le=10)
    wave_period_s: float = Field(2.0, gt=0)


VIRTUAL_INPUTS = (VirtualLine, VirtualEdgesInput, VirtualVoltageInput)
