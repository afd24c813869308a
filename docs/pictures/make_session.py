"""Draw `session.png` from a session folder of the virtual rig: `python docs/pictures/make_session.py FOLDER`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from rt_engine.recording.activity_table import ActivityTable
from rt_engine.recording.figure_style import styled
from rt_engine.recording.reader import open_session
from rt_engine.recording.report_figures import field_figure, traces_figure, triggered_figure
from rt_engine.recording.report_view import ReportView
from rt_engine.recording.summary import analyse


def main(folder: Path, target: Path) -> None:
    """Field on the left, traces and the response to light on the right."""
    activity = ActivityTable()
    view = ReportView(analyse(open_session(folder), (activity,)), activity, 0)
    calibration = view.calibration
    if calibration is None:
        raise SystemExit(f"{folder} has no calibration")
    triggers = {roi_id for decision in view.decisions for roi_id in decision.first.roi_ids}
    targets = {roi_id for decision in view.decisions for roi_id in decision.first.target_ids}
    traces, window = view.examples()
    with styled():
        figures = [
            field_figure(calibration, triggers, targets, []),
            traces_figure(traces[:4], window),
            triggered_figure(view.responses()),
        ]
        images = [_image(figure) for figure in figures]
    sheet = plt.figure(figsize=(13, 6.6), dpi=110, facecolor="white")
    for image, box in zip(images, ((0.0, 0.0, 0.44, 1.0), (0.44, 0.5, 0.56, 0.5), (0.5, 0.0, 0.44, 0.5)), strict=True):
        axes = sheet.add_axes(box)
        axes.imshow(image)
        axes.set_axis_off()
    sheet.savefig(target)


def _image(figure: Figure) -> object:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, facecolor="white")
    buffer.seek(0)
    return plt.imread(buffer)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).with_name("session.png"))
