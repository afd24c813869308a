"""One finding of the static check."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """What a finding means."""

    PROVED = "proved"
    WARNING = "warning"
    """Cannot be proved: the interlock will have to refuse what is too much."""
    ERROR = "error"
    """Can never work, or can never pass."""


class Finding(NamedTuple):
    """What was found at a key of the protocol file."""

    verdict: Verdict
    key: str
    text: str
