"""What an examination of a rig finds: pass, warn or fail, what it means, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from rt_engine.interfaces.errors import DeviceError, SpikeloopError


class Verdict(StrEnum):
    """`PASS` is as it should be, `WARN` may spoil a session, `FAIL` will."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    `part` is what it belongs to (an output, the disk), `text` what was found, `meaning` why that matters; `meaning` and
    `remedy` are empty where all is well.
    """

    verdict: Verdict
    part: str
    text: str
    meaning: str = ""
    remedy: str = ""


def passed(part: str, text: str) -> Finding:
    """All is well."""
    return Finding(Verdict.PASS, part, text)


def failed(part: str, error: SpikeloopError, meaning: str) -> Finding:
    """An error of our tree as a finding; what the part says already is not said again."""
    text = error.message
    if isinstance(error, DeviceError) and part.endswith(error.device):
        text = text.removeprefix(f"{error.device}: ")
    return Finding(Verdict.FAIL, part, text, meaning, error.remedy)


@runtime_checkable
class Examinable(Protocol):
    """A driver that can be looked at without moving anything: no output is opened, driven or armed."""

    def examine(self) -> list[Finding]:
        """What is there, and what is not; raises nothing. The device is released again."""
        ...
