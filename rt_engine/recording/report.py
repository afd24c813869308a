"""report.html: one file that a scientist can forward, made from the journal alone."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

import yaml

from rt_engine.recording import report_template as html
from rt_engine.recording.activity_table import ActivityTables
from rt_engine.recording.effect_section import effect_section
from rt_engine.recording.figure_style import styled
from rt_engine.recording.losses_section import losses_section
from rt_engine.recording.quality_table import QualityTables
from rt_engine.recording.reader import no_whole_message, open_session, read_config
from rt_engine.recording.replaced_file import write_beside
from rt_engine.recording.report_course import dose_section, latency_course_section, quality_section
from rt_engine.recording.report_sections import (
    accuracy_section,
    field_section,
    latency_section,
    raster_section,
    response_section,
    traces_section,
)
from rt_engine.recording.report_view import ReportView
from rt_engine.recording.summary import analyse, summary_of

REPORT_FILE = "report.html"
_FEWER = 0.98
"""A smaller share of the frames than this is told: the last ones may still be under way at the end."""
_RUN_FACTS = ("ended", "failure", "kind", "dry_run", "effects", "effects_missing")


def write_report(session_folder: Path, facts: dict[str, Any] | None = None) -> Path:
    """Write ``report.html`` into a session folder, complete, running or crashed.

    Parameters
    ----------
    session_folder : Path
        Or one journal file of a session: the report of what it holds.
    facts : dict, optional
        What only the run knew, where ``summary.json`` does not tell it.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    RecordingError
        There is no journal, nothing of it can be read, or the report cannot be written; an earlier report stays.
    """
    session = open_session(session_folder)
    activity, quality = ActivityTables(), QualityTables()
    analysis = analyse(session, (activity, quality))
    if not analysis.tables.n_messages:
        raise no_whole_message(session)
    summary = (run_facts(session.folder) if facts is None else facts) | summary_of(analysis)
    config = read_config(session)
    views = [ReportView(analysis, activity.of(plane), plane) for plane in sorted(analysis.tables.planes) or (0,)]
    with styled():
        parts = [
            *_head(summary, config),
            *map(field_section, views),
            *map(traces_section, views),
            *map(raster_section, views),
            response_section(views, summary),
            effect_section(summary.get("effects"), summary.get("effects_missing")),
            dose_section(views[0], quality),
            latency_section(views[0]),
            latency_course_section(views[0]),
            accuracy_section(views, summary),
            *(quality_section(view, quality) for view in views),
            losses_section(summary),
            _provenance(summary, config, [log.text for log in analysis.tables.logs]),
        ]
    path = session.folder / REPORT_FILE
    text = html.page(f"spikeloop: {summary['rig'] or session.folder.name}", parts)
    write_beside(path, text.encode())
    return path


def run_facts(folder: Path) -> dict[str, Any]:
    """What only the run itself knew: how it ended. Nothing where ``summary.json`` is not there yet."""
    try:
        found = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: found[name] for name in _RUN_FACTS if name in found} if isinstance(found, dict) else {}


def _head(summary: dict[str, Any], config: dict[str, Any]) -> list[str]:
    told = [f"rig {summary['rig'] or 'unknown'}", f"protocol {summary['protocol'] or 'none'}"]
    if summary["replay"]:
        of = summary["replay"].get("of") or summary["replay"].get("source")
        told.append(f"replay of {'the traces of ' if _from_traces(summary) else ''}{of}")
    if summary["subject"]:
        told.append(f"subject {summary['subject']}")
    if summary["started_utc"]:
        told.append(f"started {str(summary['started_utc'])[:19].replace('T', ' ')} UTC")
    told.append(f"{summary['duration_s']:.1f} s live")
    if summary.get("ended"):
        told.append(f"ended: {summary['ended']}")
    title = f"Session {summary['session']}" if summary["session"] else "Session"
    warnings = [
        html.paragraph(sentence, "warning") for sentence in (*_warnings(summary), *_frames_left_out(summary, config))
    ]
    return [f"<h1>{escape(title)}</h1>", html.paragraph(" · ".join(told), "lead"), *warnings, _numbers(summary)]


def _from_traces(summary: dict[str, Any]) -> bool:
    return (summary["replay"] or {}).get("starts_from") == "traces"


def _warnings(summary: dict[str, Any]) -> list[str]:
    sentences = []
    replay = summary["replay"] or {}
    if replay.get("what_would_have_happened"):
        sentences.append(
            f"What would have happened: a replay of {replay['of']} with {'; '.join(replay['differs'])}. The recorded "
            "cells answered the light of the experiment that was done, not the light shown here."
        )
    if (first := replay.get("traces_from_frame")) is not None:
        sentences.append(
            f"From frame {first} on this replay goes on from the recorded traces, since not all frames after it were "
            "kept: motion, extraction and demixing are those of the recording there, and a sample that was a lower "
            "bound (saturated detector) counts as whole."
        )
    if hole := replay.get("hole"):
        sentences.append(f"In the recording {hole}: what this replay decided after them need not be what was recorded.")
    if _from_traces(summary):
        sentences.append(
            "A replay of recorded traces, not of frames: motion, extraction and demixing are those of the recording, "
            "and a sample that was a lower bound (saturated detector) counts as whole."
        )
    if summary.get("failure"):
        sentences.append(f"The run failed: {summary['failure']}")
    if summary.get("dry_run"):
        sentences.append("Dry run: every decision was made, no light was commanded.")
    if summary["provisional"]:
        sentences.append(
            "Thresholds are provisional: the baseline has fewer than 3,000 frames, so rates of false events may differ "
            "from the nominal ones."
        )
    if not summary["journal"]["complete"]:
        sentences.append("The session is not complete (see Losses): figures count what is left of it.")
    if summary["trips"]:
        sentences.append(f"The interlock tripped ({len(summary['trips'])}): see Losses and trips.")
    if summary["frames"] == 0:
        sentences.append("The session never went live.")
    return sentences


def _frames_left_out(summary: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """Frames that were to be kept and were not: the disk was full, or too slow."""
    wanted = (config.get("rig") or config).get("recording") or {}
    if wanted.get("frames") != "all" or wanted.get("every_nth_frame", 1) != 1 or summary["replay"]:
        return []
    counts: dict[str, int] = summary["journal"]["messages"]
    sentences = []
    for topic in sorted(one for one in counts if one.startswith("spikes.")):
        plane, came = topic.partition(".")[2], counts[topic]
        kept = max((n for one, n in counts.items() if one.startswith(f"frame.{plane}.")), default=0)
        if kept < _FEWER * came:
            of_plane = f" of plane {plane}" if plane != "0" else ""
            sentences.append(
                f"Only {kept:,} of {came:,} frame messages{of_plane} are in the journal: the disk was full or too slow "
                "(see the warnings logged). Events and traces go on, and a replay goes on from the traces there."
            )
    return sentences


def _numbers(summary: dict[str, Any]) -> str:
    stim, latency = summary["stim"], summary["latency_ms"]
    items = [
        (f"{summary['frames']:,}", f"frames live, {summary['frames_lost']:,} lost"),
        (f"{summary['cells']:,}" if summary["cells"] is not None else "–", "cells"),
        (f"{summary['spikes']:,}", "events" + _rate(summary)),
        (f"{stim['delivered']:,}", f"times light delivered, {stim['withheld']:,} withheld as control"),
    ]
    for name, what in (
        ("scan_to_command", "from the last line scanned to the command (software)"),
        ("spike_to_command", "from the true spike to the command"),
    ):
        figures = latency[name]
        if figures:
            items.append((f"{figures['p50']:.3g} ms", f"{what}: median; p99 {figures['p99']:.3g} ms"))
    if summary["recall"] is not None:
        items.append((f"{summary['recall']:.2f}", "median recall, planted cells with A/σ ≥ 4"))
    if summary["precision"] is not None:
        items.append((f"{summary['precision']:.2f}", "median precision, the same cells"))
    return html.numbers(items)


def _rate(summary: dict[str, Any]) -> str:
    if not summary["cells"] or summary["duration_s"] <= 0:
        return ""
    return f", {60 * summary['spikes'] / summary['cells'] / summary['duration_s']:.2g} per cell and minute"


def _provenance(summary: dict[str, Any], config: dict[str, Any], logs: list[str]) -> str:
    rows = [*summary["versions"].items(), ("git", summary["git_hash"] or "unknown")]
    rows += [(f"seed: {name}", str(seed)) for name, seed in summary["seeds"].items()]
    rows += [(f"driver: {name}", str(driver)) for name, driver in (config.get("drivers") or {}).items()]
    rows += list((config.get("driver_packages") or {}).items())
    for device, found in summary["device_versions"].items():
        rows += [(f"{device}: {what}", version) for what, version in found.items()]
    if processor := (config.get("machine") or {}).get("processor"):
        rows.append(("processor", str(processor)))
    return html.section(
        "Versions and configuration",
        html.table(("what", "version"), rows),
        html.folded("Configuration", yaml.safe_dump(config, sort_keys=False), is_printed=True) if config else "",
        html.folded(f"Warnings logged ({len(logs)})", "\n".join(logs)) if logs else "",
        html.folded("summary.json", json.dumps(summary, indent=2)),
    )
