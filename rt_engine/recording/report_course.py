"""Sections of the report over the time of the session."""

from __future__ import annotations

from typing import Any

import numpy as np

from rt_engine.recording import report_template as html
from rt_engine.recording.course_figures import dose_figure, latency_course_figure, quality_figure
from rt_engine.recording.figure_style import to_svg
from rt_engine.recording.quality_table import QualityTables
from rt_engine.recording.report_view import ReportView


def latency_course_section(view: ReportView) -> str:
    """How the latencies went over the session."""
    received, decided = (
        np.frombuffer(column, np.int64) / 1e6
        for column in (view.table.scan_to_receive_ns, view.table.receive_to_decision_ns)
    )
    if len(received) < 2:
        return ""
    t_s = np.linspace(*view.span_s, len(received))
    placed = (d for d in view.decisions if d.has_trigger and d.first.plane == view.plane)
    commands = [d for d in placed if d.t_command_ns is not None]
    decided_s = view.seconds(np.array([d.first.frame for d in commands], np.float64))
    command_ms = np.array([((d.t_command_ns or 0) - d.first.t_scan_ns) / 1e6 for d in commands])
    figure = latency_course_figure(t_s, received + decided, decided_s, command_ms, view.span_s)
    caption = "From the last line scanned to the decision, in bins of time; dots are commands to an output."
    return html.section("Latency over the session", html.figure(to_svg(figure, "Latency over the session"), caption))


def dose_section(view: ReportView, quality: QualityTables) -> str:
    """Light given, and when it was allowed."""
    if not quality.energy and not quality.states:
        return ""
    t0_ns = view.table.t_first_live_ns

    def seconds(t_ns: int) -> float:
        return (t_ns - t0_ns) / 1e9 + view.period_s

    energy = {
        name: (np.array([seconds(t) for t, _ in rows]), np.array([mj for _, mj in rows]))
        for name, rows in quality.energy.items()
    }
    state = view.analysis.tables.state
    limits = {} if state is None else state.limits
    allowed = {name: float(one["max_total_energy_mj"]) for name, one in limits.items() if "max_total_energy_mj" in one}
    if _is_replay(view):
        states = []  # of a replay, messages of the stimulation service are stamped by another clock than the frames
    else:
        states = [(seconds(t_ns), name) for t_ns, name in quality.states]
    figure = dose_figure(energy, states, allowed, view.span_s)
    caption = "Energy commanded, over all targets, and the state of the interlock."
    if _is_replay(view):
        caption = "Energy commanded, over all targets. When it was armed stands in the report of the recording."
    return html.section(
        "Light and interlock", html.figure(to_svg(figure, "Dose and interlock"), caption), _doses(energy)
    )


def _doses(energy: dict[str, Any]) -> str:
    rows = [
        (name, len(mj), f"{mj.sum():.3g}", f"{mj.max():.3g}" if len(mj) else "–") for name, (_, mj) in energy.items()
    ]
    return html.table(("output", "pulses", "energy (mJ)", "largest pulse (mJ)"), rows) if rows else ""


def quality_section(view: ReportView, quality: QualityTables) -> str:
    """Was the recording steady: movement, fit to the template, samples lost."""
    rows = quality.of(view.plane)
    if len(rows) < 2:
        return ""
    t_s = view.seconds(rows[:, 0])
    figure = quality_figure(t_s, rows[:, 1:3], rows[:, 3], view.span_s)
    moved = np.hypot(np.diff(rows[:, 1]), np.diff(rows[:, 2]))
    dff = view.activity.dff
    missing = float(np.mean(~np.isfinite(dff))) if dff.size else 0.0
    caption = (
        f"Displacement against the template. Median {np.median(np.hypot(rows[:, 1], rows[:, 2])):.2g} px, largest "
        f"{np.hypot(rows[:, 1], rows[:, 2]).max():.2g} px; from frame to frame 99 % within "
        f"{np.quantile(moved, 0.99):.2g} px. {missing:.2%} of all samples are missing (blanked, lost, or in motion)."
    )
    return html.section(
        f"Data quality{view.of_plane}", html.figure(to_svg(figure, "Movement and registration"), caption)
    )


def _is_replay(view: ReportView) -> bool:
    header = view.analysis.tables.session
    return header is not None and bool(header.config.get("replay"))
