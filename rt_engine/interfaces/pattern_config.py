"""What an output needs whose light goes through a pattern: an SLM or galvos of another program, fired by TTL."""

from __future__ import annotations

from itertools import combinations
from math import hypot
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rt_engine.interfaces.file_schema import OrFile
from rt_engine.interfaces.ni_config import Line, NiCounter, NiDaqSettings
from rt_engine.interfaces.slm_registration import SlmRegistration
from rt_engine.interfaces.strict import Strict

MAX_TARGETS = 100
Place = tuple[int, float, float]
"""Plane, line and pixel."""


class Pattern(Strict):
    """One pattern that the other program holds: its number there, and where its light goes (template, pixels).

    `target_planes`: the plane of each target of a volume; none: all are in plane 0.
    """

    number: int = Field(ge=0, le=255)
    targets_yx_px: tuple[tuple[float, float], ...] = Field(min_length=1, max_length=MAX_TARGETS)
    target_planes: tuple[Annotated[int, Field(ge=0, le=255)], ...] = ()

    @model_validator(mode="after")
    def _a_plane_each(self) -> Pattern:
        if len(self.target_planes) not in (0, len(self.targets_yx_px)):
            text = f"pattern {self.number} has {len(self.targets_yx_px)} targets, and planes for"
            raise ValueError(f"{text} {len(self.target_planes)}: give each its plane, or none")
        return self

    @property
    def places(self) -> tuple[Place, ...]:
        """Plane, line and pixel of each target."""
        return places_of(self.targets_yx_px, self.target_planes)


class OnePattern(Strict):
    """The other program shows one pattern all the time: a person has loaded it before the run."""

    by: Literal["hand"]


class ByLines(Strict):
    """The number of the pattern on digital lines, in binary, the first line the lowest bit; changed in the run.

    `settle_ms` after a change the pattern stands: the card itself holds the light back for so long.
    """

    by: Literal["lines"]
    lines: tuple[Line, ...] = Field(min_length=1, max_length=8)
    settle_ms: float = Field(gt=0, le=100)


class ByCount(Strict):
    """So many edges on `step_line` after one on `reset_line`: the place in a sequence. Before the run only."""

    by: Literal["count"]
    reset_line: Line
    step_line: Line
    settle_ms: float = Field(gt=0, le=1000)


class ByHoloBlink(Strict):
    """A program that is told the coordinates over TCP, as HoloBlink is. Before the run only: it takes its time."""

    by: Literal["holoblink"]
    server: str = Field(pattern=r"^[^\s:]+:\d+$", description="host:port")


Selection = Annotated[OnePattern | ByLines | ByCount | ByHoloBlink, Field(discriminator="by")]


class PatternTtlSettings(NiDaqSettings):
    """Light of an NI card that another program's pattern divides among its targets; see `NiDaqSettings`.

    The pulse, the enable line and the watchdog are the card's, in series with the light. `patterns` are those that the
    other program holds: only their targets can be commanded, to `tolerance_px`. `primed` is shown when the output is
    armed. With `ready_line` nothing is fired while the other program says that it is still loading. With `registration`
    the map is judged at every start, and the targets have to lie among its spots.
    """

    driver: Literal["pattern_ttl"]  # type: ignore[assignment]
    splits_beam: Literal[True] = Field(True, description="a pattern divides the beam")
    select: Selection
    patterns: tuple[Pattern, ...] = Field(min_length=1, max_length=256)
    primed: int = Field(ge=0, le=255, description="number of the pattern that is shown first")
    tolerance_px: float = Field(2.0, gt=0, le=20)
    registration: Annotated[SlmRegistration | None, OrFile()] = Field(
        None, description="or the file that `register-slm` has written"
    )
    ready_line: Line | None = Field(None, description="high while a pattern stands and may be fired")

    @property
    def settle_ms(self) -> float:
        """By how much light may come later than the command, while a run changes the pattern."""
        return self.select.settle_ms if isinstance(self.select, ByLines) else 0.0

    @property
    def longest_wait_ms(self) -> float:
        """As of `NiDaqSettings`, and the time that a pattern needs to stand."""
        return super().longest_wait_ms + self.settle_ms

    @property
    def more_lines(self) -> tuple[str, ...]:
        """Lines that select a pattern, and the one that tells that it stands."""
        ready = (self.ready_line,) if self.ready_line else ()
        if isinstance(self.select, ByLines):
            return (*self.select.lines, *ready)
        return (self.select.reset_line, self.select.step_line, *ready) if isinstance(self.select, ByCount) else ready

    @model_validator(mode="after")
    def _patterns_can_be_told_apart(self) -> PatternTtlSettings:
        numbers = [one.number for one in self.patterns]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"patterns: numbers {numbers} are not all different")
        if self.primed not in numbers:
            raise ValueError(f"primed {self.primed} is none of the patterns {numbers}")
        if isinstance(self.select, ByLines) and max(numbers) >= 1 << len(self.select.lines):
            raise ValueError(f"pattern {max(numbers)} cannot be told by {len(self.select.lines)} lines")
        if isinstance(self.select, OnePattern) and len(numbers) > 1:
            raise ValueError("select.by hand: one pattern only, for nothing can show another")
        for one, other in combinations(self.patterns, 2):
            if _same(one.places, other.places, 2 * self.tolerance_px):
                text = f"patterns {one.number} and {other.number} have the same targets to {self.tolerance_px:g} px"
                raise ValueError(text)
        return self

    @model_validator(mode="after")
    def _targets_are_registered(self) -> PatternTtlSettings:
        if self.registration is None:
            if isinstance(self.select, ByHoloBlink):
                raise ValueError("select.by holoblink needs `registration`: what is sent are places on the SLM")
            return self
        if isinstance(self.select, ByHoloBlink) and any(plane for one in self.patterns for plane in one.target_planes):
            raise ValueError("select.by holoblink is told x and y alone: its patterns are in plane 0")
        for pattern in self.patterns:
            for y_px, x_px in pattern.targets_yx_px:
                if not self.registration.covers(y_px, x_px):
                    place = f"({y_px:g}, {x_px:g}) of pattern {pattern.number}"
                    raise ValueError(f"target {place} lies outside the spots of `registration`: register again, wider")
        return self

    @model_validator(mode="after")
    def _lines_are_different(self) -> PatternTtlSettings:
        lines = [self.enable_line, *self.more_lines]
        if self.trigger is not None:
            lines.append(self.trigger.line)
        if self.pulse.kind == "gate":
            lines.append(self.pulse.line)
        twice = sorted({one for one in lines if lines.count(one) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} has two roles")
        return self

    @model_validator(mode="after")
    def _the_card_can_wait(self) -> PatternTtlSettings:
        if self.settle_ms > 0 and self.scan_gate is not None:
            raise ValueError("scan_gate: the frame clock does not wait for a pattern; select.by hand, or leave it out")
        if isinstance(self.pulse, NiCounter) and self.trigger is not None and self.settle_ms > 0:
            raise ValueError(
                "a counter fired by an edge does not wait for a pattern each time: use another kind, or no trigger"
            )
        return self

    def pattern_of(
        self, targets_yx_px: tuple[tuple[float, float], ...], target_planes: tuple[int, ...] = ()
    ) -> Pattern | None:
        """The pattern whose targets these are, each in its plane within `tolerance_px`; None if there is none."""
        asked = places_of(targets_yx_px, target_planes)
        for one in self.patterns:
            if _same(one.places, asked, self.tolerance_px):
                return one
        return None


def places_of(targets_yx_px: tuple[tuple[float, float], ...], target_planes: tuple[int, ...]) -> tuple[Place, ...]:
    """Each target with its plane, which is 0 where none are told."""
    planes = target_planes or (0,) * len(targets_yx_px)
    return tuple((plane, y, x) for plane, (y, x) in zip(planes, targets_yx_px, strict=True))


def _same(a: tuple[Place, ...], b: tuple[Place, ...], tolerance_px: float) -> bool:
    """True if every place of one is a place of the other, none twice."""
    left = list(b)
    if len(a) != len(b):
        return False
    for plane, y, x in a:
        there = [one for one in left if one[0] == plane]
        near = min(there, key=lambda one: hypot(one[1] - y, one[2] - x), default=None)
        if near is None or hypot(near[1] - y, near[2] - x) > tolerance_px:
            return False
        left.remove(near)
    return True
