"""Section `design`: what makes a session an experiment: baseline, arms, blocks, responses, stop rules, seed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from protocols.schema.cells import Name
from protocols.schema.signals import ActivityField
from rt_engine.interfaces.strict import Strict

Share = Annotated[float, Field(gt=0, le=1)]


class ArmKind(StrEnum):
    """What happens to a trial of an arm."""

    STIM = "stim"
    WITHHELD = "withheld"
    SHAM = "sham"


class BlockKind(StrEnum):
    """What commands the light in a block."""

    CLOSED_LOOP = "closed_loop"
    YOKED = "yoked"
    OPEN_LOOP = "open_loop"


class Arm(Strict):
    """One arm of the trials. A sham arm does `do` instead of the reaction's actions."""

    kind: ArmKind
    share: Share
    do: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _sham(self) -> Arm:
        if (self.kind is ArmKind.SHAM) != bool(self.do):
            raise ValueError("do is required for a sham arm, and only there")
        return self


class Block(Strict):
    """One kind of block. `yoked` repeats the pulse times of a partner; `open_loop` draws its own."""

    kind: BlockKind
    do: Name | None = Field(None, description="the light action of yoked and open-loop blocks")
    partner: str = Field("previous", description="`previous` closed-loop block of this session, or a partner file")
    rate_hz: float | None = Field(None, gt=0, le=1000, description="of open-loop pulses")

    @model_validator(mode="after")
    def _complete(self) -> Block:
        if (self.kind is BlockKind.CLOSED_LOOP) == (self.do is not None):
            raise ValueError("do is required for yoked and open-loop blocks, and only there")
        if (self.kind is BlockKind.OPEN_LOOP) != (self.rate_hz is not None):
            raise ValueError("rate_hz is required for open-loop blocks, and only there")
        return self


class Blocks(Strict):
    """Blocks of equal length in shuffled rounds, each kind once a round; a yoked block never before its partner."""

    block_s: float = Field(gt=0, le=86_400)
    pause_s: float = Field(0.0, ge=0, le=86_400)
    kinds: dict[Name, Block] = Field(min_length=1)


class Response(Strict):
    """The outcome of a trial: the mean of a signal from `from_ms` to `to_ms` after the trigger.

    `minus_before_ms` > 0: minus the mean over that time before the trigger. A trial with less than `min_valid` of its
    samples is void.
    """

    signal: Name
    from_ms: float = Field(ge=0, le=600_000)
    to_ms: float = Field(gt=0, le=600_000)
    minus_before_ms: float = Field(0.0, ge=0, le=10_000)
    min_valid: float = Field(1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Response:
        if self.from_ms >= self.to_ms:
            raise ValueError(f"from_ms {self.from_ms:g} is not below to_ms {self.to_ms:g}")
        return self


class MapKind(StrEnum):
    """What is made of the responses of every cell to every target."""

    INFLUENCE = "influence"
    EXCITABILITY = "excitability"


class ResponseMap(Strict):
    """The response of every cell in every trial is kept, and made into a map at the end."""

    kind: MapKind
    field: ActivityField = ActivityField.DFF
    exclude_um: float = Field(25.0, ge=0, le=1000, description="cells this near to a target are not influence")
    from_ms: float = Field(ge=0, le=600_000)
    to_ms: float = Field(gt=0, le=600_000)
    control: Name | None = Field(None, description="group of control sites; required for influence")
    false_discovery_rate: float = Field(0.05, gt=0, lt=1)

    @model_validator(mode="after")
    def _complete(self) -> ResponseMap:
        if self.from_ms >= self.to_ms:
            raise ValueError(f"from_ms {self.from_ms:g} is not below to_ms {self.to_ms:g}")
        if (self.kind is MapKind.INFLUENCE) != (self.control is not None):
            raise ValueError("control is required for an influence map, and only there")
        return self


class Stop(Strict):
    """When no further trial begins; whichever comes first."""

    trials: int | None = Field(None, ge=1, le=1_000_000)
    delivered: int | None = Field(None, ge=1, le=1_000_000, description="trials commanded with light")
    after_s: float | None = Field(None, gt=0, le=604_800, description="of live session")
    effect_is_clear: bool = Field(False, description="the anytime-valid interval of the effect excludes 0")


class Design(Strict):
    """The design; `arms: {}` assigns every trial to light."""

    seed: int = Field(ge=0)
    baseline_s: float = Field(0.0, ge=0, le=86_400, description="live time before the first trial")
    arms: dict[Name, Arm] = {}
    block_size: int | None = Field(
        None, ge=2, le=1000, description="trials in which every arm has exactly its share; null: every trial by itself"
    )
    inter_trial_ms: float = Field(0.0, ge=0, le=86_400_000)
    blocks: Blocks | None = None
    response: Response | None = None
    map: ResponseMap | None = None
    alpha: float = Field(0.05, gt=0, lt=0.5)
    blind: bool = Field(False, description="arms and effects are not shown while the session runs")
    stop: Stop = Stop()

    @model_validator(mode="after")
    def _shares(self) -> Design:
        total = sum(arm.share for arm in self.arms.values())
        if self.arms and abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of the arms add up to {total:g}, not 1")
        if self.block_size is not None:
            for name, arm in self.arms.items():
                if abs(arm.share * self.block_size - round(arm.share * self.block_size)) > 1e-9:
                    raise ValueError(f"{self.block_size} trials cannot hold a share of {arm.share:g} of arm {name}")
        if self.map is not None and self.stop.trials is None:
            raise ValueError("a map needs stop.trials, the room its responses take")
        if self.stop.effect_is_clear and self.response is None:
            raise ValueError("stop.effect_is_clear needs a response")
        return self
