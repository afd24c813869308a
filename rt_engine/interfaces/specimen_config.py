"""What a rig file may tell of animal and light: nothing of it changes a run, all of it goes into the archive."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rt_engine.interfaces.strict import Strict


class AnimalConfig(Strict):
    """The subject, in the words of NWB; null is unknown, and never guessed."""

    species: str | None = Field(None, pattern=r"^[A-Z][a-z]+ [a-z]+$", description="Latin binomial: Mus musculus")
    sex: Literal["M", "F", "U", "O"] | None = None
    age: str | None = Field(None, pattern=r"^P(\d+(\.\d+)?[YMWDH])+$", description="ISO 8601 duration: P90D")
    genotype: str | None = None
    strain: str | None = None
    weight_kg: float | None = Field(None, gt=0)
    description: str | None = None
    opsin: str | None = None


class ExperimentConfig(Strict):
    """Who did what, and where, in the words of NWB; null is unknown."""

    experimenter: tuple[str, ...] = Field((), description='last name first: [Lovelace, Ada] is ["Lovelace, Ada"]')
    institution: str | None = None
    lab: str | None = None
    description: str | None = Field(None, description="what the experiment is about; null: a sentence about the run")


class OpticsConfig(Strict):
    """Wavelengths and place; null is unknown."""

    excitation_nm: float | None = Field(None, ge=200, le=3000)
    emission_nm: float | None = Field(None, ge=200, le=3000)
    stimulation_nm: float | None = Field(None, ge=200, le=3000)
    location: str | None = Field(None, description="what is imaged, e.g. primary visual cortex, layer 2/3")
