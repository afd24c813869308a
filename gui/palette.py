"""Colours that people with any colour vision can tell apart, for dark and light rooms.

The categorical colours are those of Okabe and Ito (Color Universal Design, 2008); maps of numbers are perceptually
uniform ones. Nothing is told by colour alone: every state has its word and its sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
TAG_COLOURS = (SKY, ORANGE, GREEN, PURPLE, YELLOW, VERMILION, BLUE)


class Tone(StrEnum):
    """What a coloured thing means."""

    NEUTRAL = "neutral"
    GOOD = "good"
    NOTICE = "notice"
    WARNING = "warning"
    DANGER = "danger"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one theme, as ``#rrggbb``."""

    name: str
    background: str
    surface: str
    raised: str
    line: str
    text: str
    muted: str
    accent: str
    on_accent: str
    good: str
    notice: str
    warning: str
    danger: str
    on_danger: str
    stale: str
    trace: str
    calcium: str
    probability: str
    event: str
    light: str

    def tone(self, tone: Tone) -> str:
        """Colour of a meaning."""
        if tone is Tone.NEUTRAL:
            return self.muted
        return str(getattr(self, tone.value))


DARK = Palette(
    name="dark",
    background="#0b0f14",
    surface="#131920",
    raised="#1d2630",
    line="#2f3b48",
    text="#eef3f8",
    muted="#9fb0c0",
    accent=SKY,
    on_accent="#06202f",
    good="#3fc8a0",
    notice=SKY,
    warning=ORANGE,
    danger="#ff6b3d",
    on_danger="#ffffff",
    stale="#6b7885",
    trace="#8a99a8",
    calcium=SKY,
    probability=PURPLE,
    event=ORANGE,
    light=YELLOW,
)
LIGHT = Palette(
    name="light",
    background="#eef1f4",
    surface="#ffffff",
    raised="#e6ebf0",
    line="#c3ccd6",
    text="#131a22",
    muted="#52606e",
    accent=BLUE,
    on_accent="#ffffff",
    good="#007a58",
    notice=BLUE,
    warning="#a86400",
    danger="#b83c00",
    on_danger="#ffffff",
    stale="#8b97a3",
    trace="#8d99a6",
    calcium=BLUE,
    probability="#a8407c",
    event="#c25500",
    light="#b89a00",
)
STOP_RED, STOP_RED_DOWN = "#d3121e", "#9c0a14"
THEMES = {"dark": DARK, "light": LIGHT}
