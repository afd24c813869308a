"""The end of a session: summary, report, and what a person reads last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rt_engine.interfaces.errors import RecordingError
from rt_engine.recording.reader import open_session
from rt_engine.recording.report import write_report
from rt_engine.recording.summary import summarize
from rt_engine.services.protocol_results import effect_lines
from rt_engine.services.run_view import RunView


def conclude(folder: Path, facts: dict[str, Any], view: RunView) -> dict[str, Any]:
    """Write ``summary.json`` and ``report.html``, and say what was found.

    Parameters
    ----------
    folder : Path
        Session folder.
    facts : dict
        What only the run knows (how it ended); becomes part of the summary.

    Raises
    ------
    RecordingError
        They cannot be written.
    """
    view.say("summing up …")
    summary = summarize(open_session(folder)) | facts
    text = json.dumps(summary, indent=1, default=float)
    try:
        (folder / "summary.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecordingError(
            f"{folder / 'summary.json'}: cannot be written: {error.strerror}",
            "the journal is whole: make room, then `spikeloop report` writes the report",
        ) from error
    report = write_report(folder)
    for line in summary_lines(summary):
        view.say(line)
    view.say(f"report: {report}")
    return summary


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The summary in a few sentences."""
    stim = ", ".join(f"{n} {outcome}" for outcome, n in summary["stim"].items() if n) or "none"
    lines = [f"frames {summary['frames']} (lost {summary['frames_lost']}), events {summary['spikes']}, light: {stim}"]
    for name, values in summary["latency_ms"].items():
        if values and values.get("p50") is not None:
            lines.append(
                f"  {name}: p50 {values['p50']:.2f} ms, p99 {values['p99']:.2f} ms, max {values['max']:.2f} ms"
            )
    lines += effect_lines(summary.get("effects"))
    if summary.get("truth"):
        shares = {name: _share(summary[name]) for name in ("recall", "precision", "recall_all", "precision_all")}
        lines.append(
            "against the truth, cells with A/σ ≥ 4: recall {recall}, precision {precision} (medians); "
            "all cells pooled: recall {recall_all}, precision {precision_all}".format(**shares)
        )
    return lines


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
