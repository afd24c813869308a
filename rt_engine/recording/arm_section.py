"""What the target cells of every arm did around the trigger: curves, means, and differences from the control."""

from __future__ import annotations

from rt_engine.recording import report_template as html
from rt_engine.recording.event_triggered import Estimate, difference, mean_response
from rt_engine.recording.figure_style import to_svg
from rt_engine.recording.report_figures import triggered_figure
from rt_engine.recording.report_view import ArmResponse, ReportView

_CURVES = (
    "Mean over trials of the target cells' ΔF/F around the trigger, arm by arm; band: pointwise 95 % confidence "
    "interval over trials. A closed loop triggers at extreme moments, so only withheld triggers are a valid baseline. "
    "Trials at the ends of the recording or across lost frames are left out."
)
_TABLE = (
    "The same curves in numbers: mean ΔF/F of the target cells in the first second after the trigger, minus the second "
    "before it, with 95 % intervals over trials (Student's t; differences and p: Welch's t-test, two-sided, as if the "
    "number of trials had been fixed and every p were the only one). They describe the cells that light was aimed at. "
    "What the protocol calls its response may be another signal in another window, so its effect is another number: "
    "see Effect of the light, whose randomisation test and anytime-valid interval are the ones to cite."
)


def arm_responses(view: ReportView) -> list[str]:
    """Figure and table of one plane; nothing without a trial."""
    arms = view.responses()
    if not arms:
        return []
    title = f"Average response to light{view.of_plane}"
    averages = {name: one.average for name, one in arms.items()}
    svg = to_svg(triggered_figure(averages, {name: one.outcome for name, one in arms.items()}), title)
    of_plane = f"Cells of plane {view.plane}. " if view.of_plane else ""
    return [html.figure(svg, of_plane + _CURVES), *_table(arms), decimated(view)]


def control_of(arms: dict[str, ArmResponse]) -> str | None:
    """The arm that the others are compared with: withheld triggers, else sham."""
    for outcome in ("withheld", "sham"):
        for name, one in arms.items():
            if one.outcome == outcome:
                return name
    return None


def _table(arms: dict[str, ArmResponse]) -> list[str]:
    control = control_of(arms)
    rows = []
    for name, one in arms.items():
        mean = mean_response(one.average)
        row = [name.replace("_", " "), one.outcome.replace("_", " "), one.average.n_trials, *_words(mean)]
        if control is not None:
            found = None if name == control else difference(one.average, arms[control].average)
            row += [*_words(found), "–" if found is None or found.p is None else _p(found.p)]
        rows.append(row)
    head = ["arm", "outcome", "trials", "mean ΔF/F", "95 %"]
    if control is not None:
        head += [f"minus {control.replace('_', ' ')}", "95 %", "p (Welch)"]
    parts = [html.table(head, rows), html.paragraph(_TABLE, "note")]
    if control is None or len(arms) < 2:
        parts.append(html.paragraph("Without both lit and withheld triggers no effect can be estimated.", "note"))
    elif all(row[-1] == "–" for row in rows):
        parts.append(html.paragraph("Too few trials in an arm to estimate the effect.", "note"))
    return parts


def _words(found: Estimate | None) -> tuple[str, str]:
    return ("–", "–") if found is None else (f"{found.value:+.3g}", f"{found.low:+.3g} to {found.high:+.3g}")


def _p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def decimated(view: ReportView) -> str:
    """Says so where not every frame is used."""
    stride = view.activity.stride
    return html.paragraph(f"Traces are long: one frame in {stride} is used here.", "note") if stride > 1 else ""
