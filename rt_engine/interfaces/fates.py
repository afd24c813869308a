"""What can become of a frame."""

from __future__ import annotations

from enum import StrEnum


class Fate(StrEnum):
    """One word for what inference did with a frame number.

    `DECIDED`; `UNUSED` not live; `MISSING` never came; `SKIPPED` left out under overload; `REFUSED` unusable or
    incomplete; `DISCARDED` flyback. Besides, of those decided: `LATE` past the deadline, so that no trigger may come of
    it; `BLANKED` lines were scanned under stimulation light. And of messages beyond: `DUPLICATED` came twice;
    `OUT_OF_ORDER` came after a later one.
    """

    DECIDED = "decided"
    UNUSED = "unused"
    MISSING = "missing"
    SKIPPED = "skipped"
    REFUSED = "refused"
    DISCARDED = "discarded"
    LATE = "late"
    BLANKED = "blanked"
    DUPLICATED = "duplicated"
    OUT_OF_ORDER = "out_of_order"
