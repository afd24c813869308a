"""Section `triggers`: named conditions, composed by all, any and not; with hold and refractory time."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from protocols.schema.cells import Name
from rt_engine.interfaces.strict import Strict

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Condition(Strict):
    hold_ms: float = Field(0.0, ge=0, le=3_600_000, description="must have been true this long without a break")
    refractory_ms: float = Field(0.0, ge=0, le=86_400_000, description="after a trigger, delivered or withheld")
    while_true: bool = Field(False, description="fire again and again, not only when it becomes true")


class Event(_Condition):
    """A cell of the group has an event."""

    when: Literal["event"]
    cells: Name
    min_probability: float = Field(0.0, ge=0, le=1)
    min_spikes: float = Field(0.0, ge=0, le=1000)


class Coincidence(_Condition):
    """k different cells of the group have events within `window_ms` (times of the spikes, not of their detection)."""

    when: Literal["coincidence"]
    cells: Name
    k: int = Field(ge=1, le=5000)
    window_ms: float = Field(gt=0, le=10_000)
    min_probability: float = Field(0.0, ge=0, le=1)


class Sequence(_Condition):
    """An event of `first`, then one of `then`, later by `min_ms` to `within_ms`."""

    when: Literal["sequence"]
    first: Name
    then: Name
    min_ms: float = Field(0.0, ge=0, le=60_000)
    within_ms: float = Field(gt=0, le=60_000)
    min_probability: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Sequence:
        if self.min_ms >= self.within_ms:
            raise ValueError(f"min_ms {self.min_ms:g} is not below within_ms {self.within_ms:g}: it can never hold")
        return self


class Silence(_Condition):
    """No cell of the group has had an event for `for_ms`."""

    when: Literal["silence"]
    cells: Name
    for_ms: float = Field(gt=0, le=3_600_000)


class Above(_Condition):
    """A signal is above `level`, until it falls below `release` (default: `level`)."""

    when: Literal["above"]
    signal: Name
    level: Finite
    release: Finite | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Above:
        if self.release is not None and self.release > self.level:
            raise ValueError(f"release {self.release:g} is above level {self.level:g}")
        return self


class Below(_Condition):
    """A signal is below `level`, until it rises above `release` (default: `level`)."""

    when: Literal["below"]
    signal: Name
    level: Finite
    release: Finite | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Below:
        if self.release is not None and self.release < self.level:
            raise ValueError(f"release {self.release:g} is below level {self.level:g}")
        return self


class Inside(_Condition):
    """A signal is inside a band, ends included."""

    when: Literal["inside"]
    signal: Name
    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _ordered(self) -> Inside:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}: it can never hold")
        return self


class Region(_Condition):
    """Several signals together are within `radius` of `centre`: the population has entered a region of its state."""

    when: Literal["region"]
    signals: tuple[Name, ...] = Field(min_length=1, max_length=16)
    centre: tuple[Finite, ...]
    radius: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _same_length(self) -> Region:
        if len(self.centre) != len(self.signals):
            raise ValueError(f"centre has {len(self.centre)} numbers for {len(self.signals)} signals")
        return self


class Dose(_Condition):
    """The integral of a signal over time (unit of the signal times seconds) reaches a dose, which is then taken off."""

    when: Literal["dose"]
    signal: Name
    reaches: float = Field(gt=0, allow_inf_nan=False)


class Line(_Condition):
    """A behaviour line: an edge, or as long as it is high or low."""

    when: Literal["line"]
    line: str = Field(min_length=1)
    condition: Literal["rising", "falling", "high", "low"] = "rising"


class Schedule(_Condition):
    """At given times of the live session, or every `every_s` from `first_s` on, each later by up to `jitter_s`."""

    when: Literal["schedule"]
    at_s: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()
    every_s: float | None = Field(None, gt=0, le=86_400)
    first_s: float = Field(0.0, ge=0, le=86_400)
    jitter_s: float = Field(0.0, ge=0, le=86_400, description="uniform, drawn with the seed of the design")

    @model_validator(mode="after")
    def _one_way(self) -> Schedule:
        if bool(self.at_s) == (self.every_s is not None):
            raise ValueError("either at_s or every_s is required")
        if self.every_s is not None and self.jitter_s >= self.every_s:
            raise ValueError("jitter_s must be below every_s")
        return self


class Key(_Condition):
    """A person gives a mark of this name (`spikeloop ctl mark NAME`)."""

    when: Literal["key"]
    key: str = Field(min_length=1)


class Rule(_Condition):
    """A rule of another package, found by its entry point in the group `spikeloop.rules`."""

    when: Literal["rule"]
    rule: str = Field(min_length=1)
    cells: Name
    parameters: dict[str, Any] = {}


class All(_Condition):
    """All of these hold; each is a name of this section or a condition."""

    when: Literal["all"]
    of: tuple[Name | Condition, ...] = Field(min_length=1)


class AnyOf(_Condition):
    """At least one of these holds."""

    when: Literal["any"]
    of: tuple[Name | Condition, ...] = Field(min_length=1)


class Not(_Condition):
    """This does not hold."""

    when: Literal["not"]
    of: Name | Condition


Condition = Annotated[
    Event
    | Coincidence
    | Sequence
    | Silence
    | Above
    | Below
    | Inside
    | Region
    | Dose
    | Line
    | Schedule
    | Key
    | Rule
    | All
    | AnyOf
    | Not,
    Field(discriminator="when"),
]

for _model in (All, AnyOf, Not):
    _model.model_rebuild()
