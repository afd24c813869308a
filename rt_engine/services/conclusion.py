"""The end of a session: summary, report, and what a person reads last."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rt_engine.interfaces.errors import ConfigError, RecordingError, SafetyError
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.recording.reader import Session, open_session, read_config
from rt_engine.recording.replaced_file import write_beside
from rt_engine.recording.report import run_facts, write_report
from rt_engine.recording.summary import summarize
from rt_engine.services.protocol_results import RESULT_FILES, effect_lines, write_results
from rt_engine.services.rebuilt_results import rebuild
from rt_engine.services.run_view import RunView
from rt_engine.services.session_folder import kept_protocol


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
        write_beside(folder / "summary.json", text.encode())
    except RecordingError as error:
        remedy = "the journal is whole: make room, then `spikeloop recover` writes summary and report"
        raise RecordingError(error.message, remedy) from error
    report = write_report(folder)
    for line in summary_lines(summary):
        view.say(line)
    view.say(f"report: {report}")
    return summary


def facts_again(session: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    """What only the run knew, of a session whose run could not say it: from its config, and its protocol run again.

    Parameters
    ----------
    session : Session

    Returns
    -------
    facts : dict
        As for `conclude`; `effects_missing` says why there are no effects where there should be.
    concluded : dict
        For `write_results`.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    config = read_config(session)
    facts: dict[str, Any] = {
        "ended": "not in order: the run left no summary",
        "failure": None,
        "kind": config.get("kind"),
        "dry_run": config.get("dry_run"),
    }
    try:
        rig = RigConfig.model_validate(config.get("rig"))
        found = rebuild(session, rig, kept_protocol(session.folder))
    except (ConfigError, SafetyError, ValidationError) as error:
        return facts | {"effects_missing": f"the protocol cannot be run again: {error}"}, {}
    return facts | ({} if found.refused is None else {"effects_missing": found.refused}), found.concluded


def conclude_recovered(original: Path, folder: Path, view: RunView) -> dict[str, Any]:
    """Summary, report and results of a recovered session: what the run had said of itself, or the same made again.

    Parameters
    ----------
    original, folder : Path
        The session as it was found, and recovered.
    """
    facts = run_facts(original)
    if "ended" in facts:
        for name in RESULT_FILES:
            if (original / name).is_file():
                shutil.copy2(original / name, folder / name)
    else:
        facts, concluded = facts_again(open_session(folder))
        facts |= write_results(folder, concluded)
    return conclude(folder, facts, view)


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
