"""Schema of a protocol YAML: frozen, unknown keys refused, a unit in every key."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rt_engine.interfaces.rig_config import Strict
from rt_engine.interfaces.stimulation import MAX_PULSES, MAX_TARGETS


class AllCells(Strict):
    """Every cell of the calibration."""

    select: Literal["all"]


class CellsById(Strict):
    """Cells named by their `roi_id`."""

    select: Literal["ids"]
    ids: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)


class CellsByTag(Strict):
    """Cells that carry a tag."""

    select: Literal["tag"]
    tag: str = Field(min_length=1)


class BestCells(Strict):
    """The n cells whose spikes are most surely detected (expected detection, then SNR, then the lower id)."""

    select: Literal["best"]
    n: int = Field(ge=1, le=5000)


class NextBestCells(Strict):
    """The n best cells that are not among the triggering set."""

    select: Literal["next_best"]
    n: int = Field(ge=1, le=MAX_TARGETS)


class TriggeringCells(Strict):
    """The cells whose events made the trigger."""

    select: Literal["triggering"]


CellSelection = Annotated[AllCells | CellsById | CellsByTag | BestCells, Field(discriminator="select")]
TargetSelection = Annotated[
    AllCells | CellsById | CellsByTag | BestCells | NextBestCells | TriggeringCells, Field(discriminator="select")
]


class Coincidence(Strict):
    """How many different cells must have an event within a window."""

    k: int = Field(1, ge=1, le=1000)
    window_ms: float = Field(100.0, gt=0, le=10_000)


class PulseAction(Strict):
    """The light of one trigger. `power_mw` is at the sample, for each target; `period_ms` from rise to rise."""

    output: str = Field(min_length=1)
    power_mw: float = Field(gt=0, allow_inf_nan=False)
    width_ms: float = Field(ge=0.001, allow_inf_nan=False)
    pulses: int = Field(1, ge=1, le=MAX_PULSES)
    period_ms: float | None = Field(None, gt=0, allow_inf_nan=False)
    targets: TargetSelection

    @model_validator(mode="after")
    def _train(self) -> PulseAction:
        if self.pulses > 1 and self.period_ms is None:
            raise ValueError("period_ms is required for more than one pulse")
        if self.period_ms is not None and self.period_ms < self.width_ms:
            raise ValueError(f"period_ms {self.period_ms:g} is shorter than width_ms {self.width_ms:g}")
        return self


class SpikeTriggeredConfig(Strict):
    """Light after an event of one cell, or of k cells together; a share of the triggers is withheld as the control."""

    schema_version: Literal[1]
    kind: Literal["spike_triggered"]
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    description: str = ""
    cells: CellSelection
    coincidence: Coincidence = Coincidence()
    min_probability: float = Field(0.0, ge=0, le=1)
    refractory_ms: float = Field(ge=0, le=3_600_000)
    withhold_probability: float = Field(ge=0, le=1)
    seed: int = Field(ge=0)
    action: PulseAction
    limits: dict[str, dict[str, Any]] = {}
    """Stricter limits by output, with the keys of the rig file; looser ones are refused."""


ProtocolConfig = SpikeTriggeredConfig
"""Every kind of protocol there is."""
