"""The sections of the report that hold figures."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import numpy as np

from rt_engine.recording import report_template as html
from rt_engine.recording.arm_section import arm_responses, decimated
from rt_engine.recording.figure_style import to_svg
from rt_engine.recording.performance_figures import accuracy_figure, latency_figure, outcome_figure
from rt_engine.recording.report_figures import field_figure, raster_figure, traces_figure
from rt_engine.recording.report_view import ReportView

_INTERVAL_NOTES = {
    "scan_to_receive": "last line scanned → received by inference",
    "receive_to_decision": "received → event decided",
    "decision_to_command": "decided → driver called",
    "scan_to_command": "last line scanned → driver called (software)",
    "scan_to_output": "last line scanned → light measured by loop-back",
    "spike_to_command": "true spike → driver called: contains sampling, rise of the indicator and hold",
    "spike_to_output": "true spike → light measured by loop-back",
}


def field_section(view: ReportView) -> str:
    """Mean image with cells and targets."""
    calibration = view.calibration
    if calibration is None:
        text = "The session has no calibration that can be read."
        return html.section(f"Field of view{view.of_plane}", html.paragraph(text))
    triggers = {roi_id for d in view.decisions for roi_id in d.first.roi_ids}
    targets = {roi_id for d in view.decisions for roi_id in d.first.target_ids}
    lit = {
        (round(y, 1), round(x, 1))
        for light in view.analysis.tables.lights
        for (y, x), plane in zip(light.targets_yx_px, light.target_planes or repeat(0), strict=False)
        if plane == view.plane
    }
    caption = (
        f"Mean of the registered baseline ({calibration.n_baseline_frames:,} frames, {calibration.n_lines} × "
        f"{calibration.pixels_per_line} px at {calibration.frame_rate_hz:g} Hz, {calibration.indicator}) with the "
        f"outlines of {calibration.n_rois} cells."
    )
    return html.section(
        f"Field of view{view.of_plane}",
        html.figure(
            to_svg(field_figure(calibration, triggers, targets, sorted(lit)), "Mean image with cells"), caption
        ),
    )


def traces_section(view: ReportView) -> str:
    """Five example cells."""
    traces, window = view.examples()
    if not traces:
        return html.section(f"Example cells{view.of_plane}", html.paragraph("No traces were recorded while live."))
    caption = f"The {len(traces)} most active cells, {window[0]:.0f} to {window[1]:.0f} s."
    if window[1] - window[0] < view.span_s[1]:
        caption += " The busiest minute of the session is shown."
    return html.section(
        f"Example cells{view.of_plane}",
        html.figure(to_svg(traces_figure(traces, window), "Traces of example cells"), caption),
        decimated(view),
    )


def raster_section(view: ReportView) -> str:
    """All events of all cells."""
    t_event_s, row = view.event_times_s()
    if view.table.first_live is None:
        return ""
    known = row >= 0
    figure = raster_figure(t_event_s[known], row[known], max(view.n_cells, 1), view.light_times_s(), view.span_s)
    caption = f"{len(row)} events of {view.n_cells} cells; each mark is an event, at the time of its spike."
    return html.section(
        f"Activity of all cells{view.of_plane}", html.figure(to_svg(figure, "Raster of events"), caption)
    )


def response_section(views: list[ReportView], summary: dict[str, Any]) -> str:
    """Outcomes of the decisions, and what the target cells of every plane did."""
    if not any(summary["stim"].values()):
        return html.section("Stimulation", html.paragraph("No stimulation was decided."))
    parts = [
        html.figure(
            to_svg(outcome_figure(summary["stim"]), "Outcomes of stimulation"),
            "What became of every decision, by its last outcome. Suppressed: by the protocol (refractory time); "
            "refused: by the interlock.",
        )
    ]
    if summary["stim_unfinished"]:
        parts.append(
            html.paragraph(f"{summary['stim_unfinished']} decisions have no outcome in the journal.", "warning")
        )
    return html.section("Stimulation", *parts, *(part for view in views for part in arm_responses(view)))


def latency_section(view: ReportView) -> str:
    """Histograms of all measured intervals."""
    latency_ms = view.analysis.latency_ms
    measured = [name for name, values in latency_ms.items() if len(values)]
    missing = [name for name, values in latency_ms.items() if not len(values)]
    if not measured:
        return html.section("Latency", html.paragraph("No interval was measured."))
    rows = [
        (name, _INTERVAL_NOTES[name], *(_ms(np.quantile(latency_ms[name], q)) for q in (0.5, 0.99, 0.999, 1.0)))
        for name in measured
    ]
    return html.section(
        "Latency",
        html.figure(
            to_svg(latency_figure(latency_ms), "Latency histograms"),
            "Solid line: median; dashed: 99th percentile. Values above the 99.9th percentile are in the last bin.",
        ),
        html.table(("interval", "from → to", "p50 (ms)", "p99 (ms)", "p99.9 (ms)", "max (ms)"), rows),
        html.paragraph(f"Not measured in this session: {', '.join(missing)}.", "note") if missing else "",
    )


def _ms(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def accuracy_section(views: list[ReportView], summary: dict[str, Any]) -> str:
    """Recall and precision against the truth of the virtual rig, over all planes."""
    analysis, truth = views[0].analysis, summary["truth"]
    if truth is None or not analysis.scores:
        return ""
    headline = (
        f"Planted cells with A/σ ≥ 4: {truth['visible_cells_found']} of {truth['visible_cells']} found, median recall "
        f"{_share(summary['recall'])}, median precision {_share(summary['precision'])}; cells not found count 0. "
        f"All {truth['cells']} cells pooled: recall {_share(summary['recall_all'])} of {truth['bursts']} bursts, "
        f"precision {_share(summary['precision_all'])} of {truth['events']} events."
    )
    caption = (
        "Spikes no more than 100 ms apart are one burst, matched one to one with an event within 100 ms of a spike of "
        "it; spikes evoked by light are part of the truth. Precision of a cell that fired and has no event counts 0."
    )
    figures = []
    for view in views:
        if (score := analysis.scores.get(view.plane)) is not None:
            a_over_sigma = np.array(analysis.tables.truth[view.plane].sample["a_over_sigma"], np.float64)
            title = f"Recall and precision by A over sigma{view.of_plane}"
            of_plane = f"Plane {view.plane}. " if view.of_plane else ""
            figures.append(html.figure(to_svg(accuracy_figure(a_over_sigma, score), title), of_plane + caption))
    return html.section("Accuracy against the truth", html.paragraph(headline), *figures)


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
