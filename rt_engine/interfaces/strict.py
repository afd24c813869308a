"""Base of what is written by people in YAML."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Base of all config sections."""

    model_config = ConfigDict(frozen=True, extra="forbid")
