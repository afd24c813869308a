"""Configuration of the virtual sample: what is planted, and how hard it is to see."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SampleConfig(BaseModel):
    """The virtual sample; every number is a choice of the default rig, see `docs/explanation/virtual-rig.md`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(1, ge=0)
    n_cells: int = Field(200, ge=0, le=5000)
    indicator: str = "jGCaMP8m"
    spontaneous: bool = True
