"""The section of the report on what is missing: destroyed on the disk, never recorded, recovered, tripped."""

from __future__ import annotations

import json
from typing import Any

from rt_engine.interfaces.fates import Fate
from rt_engine.recording import report_template as html
from rt_engine.recording.input_clocks import clock_in_words, figures_told

_FATES = {
    Fate.DECIDED: "decided",
    Fate.LATE: "of them late",
    Fate.BLANKED: "of them in own light",
    Fate.SKIPPED: "skipped",
    Fate.MISSING: "missing",
    Fate.REFUSED: "refused",
    Fate.DUPLICATED: "came twice",
    Fate.OUT_OF_ORDER: "out of order",
}


def losses_section(summary: dict[str, Any]) -> str:
    """Losses by topic, by service and by recovery; clocks of cards; trips.

    Parameters
    ----------
    summary : dict
        As ``summary.json`` holds it.
    """
    services = [
        (name, row["starts"], row["dropped"], row["gaps"], row["late"], f"{row['rss_bytes'] / 1e6:.0f} MB")
        for name, row in sorted(summary["services"].items())
    ]
    trips = [(trip.get("signal", "?"), trip.get("text") or json.dumps(trip)) for trip in summary["trips"]]
    clocks = [(name, clock_in_words(figures_told(told))) for name, told in sorted(summary["input_clocks"].items())]
    journal = summary["journal"]
    sentences = _missing(journal)
    return html.section(
        "Losses and trips",
        html.paragraph(f"Frames lost while live: {summary['frames_lost']}. Files: {', '.join(journal['files'])}."),
        _recovered(journal["recovery"]),
        html.paragraph("; ".join(sentences) + "." if sentences else "The journal is whole: no message is missing."),
        _fates(summary),
        html.table(("service", "starts", "dropped", "gaps", "out of turn", "memory"), services) if services else "",
        html.table(("input", "card clock"), clocks) if clocks else "",
        html.table(("trip", "why"), trips) if trips else html.paragraph("The interlock never tripped."),
    )


def _missing(journal: dict[str, Any]) -> list[str]:
    sentences = [f"{n} messages of {topic} are missing in the journal" for topic, n in journal["lost_messages"].items()]
    sentences += [f"{n} messages of {topic} never reached the recorder" for topic, n in journal["gaps"].items()]
    sentences += [f"{n} messages of {topic} were malformed" for topic, n in journal["malformed"].items()]
    sentences += journal["damage"]
    return sentences + ((journal["recovery"] or {}).get("damage") or [])


def _recovered(recovery: dict[str, Any] | None) -> str:
    """How far a recovered session reaches, and what came from the stimulation log."""
    if recovery is None:
        return ""
    text = (
        f"Recovered after a crash. It reaches until {recovery['reaches_until_utc']}, {recovery['reaches_s']:.1f} s "
        "after its first message; what came later has left no trace and is not counted."
    )
    if n := len(recovery["decisions_from_log"]):
        text += (
            f" {n} decisions, wholly or in part, and {recovery['pulses_from_log']} pulses come from the write-ahead "
            "log of the stimulation service."
        )
    return html.paragraph(text, "warning")


def _fates(summary: dict[str, Any]) -> str:
    """What became of the frames of every plane, over the whole session."""
    rows = [
        (plane, *(f"{counts.get(fate.value, 0):,}" for fate in _FATES)) for plane, counts in summary["fates"].items()
    ]
    if not rows:
        return ""
    return html.paragraph(
        "Frames by what became of them: no trigger comes of late ones, and states of the cells advance over those "
        "skipped under overload, missing or refused. The recorder has those that were skipped."
    ) + html.table(("plane", *_FATES.values()), rows)
