"""Did the light do anything? Response of the lit cells, delivered against withheld, from the journal alone.

Usage:  python read_session.py sessions/20260101T120000-virtual_rig
"""

import sys

import numpy as np

from rt_engine.interfaces.calibration_planes import load_planes
from rt_engine.recording import open_session

session = open_session(sys.argv[1])
if not session.is_complete:
    print("not complete; what is lost, by topic:", session.lost)

# %% Events: one row a decided spike
events = session.events()
print(len(events), "events of", len(np.unique(events["roi_id"])), "cells")
lag_ms = (events["t_decided_ns"] - events["t_event_ns"]) / 1e6
if len(events):
    print(f"decided {np.median(lag_ms):.0f} ms after the spike (median)")

# %% Traces: one row a frame, one column a cell
traces = session.activity("dff")
print("dF/F:", traces.values.shape)

# %% Decisions, each by its last phase; the identity of a cell is its roi_id, its column its roi_index
calibration = load_planes(session.calibration_path)[0]
row_of_cell = {int(roi_id): row for row, roi_id in enumerate(calibration.roi_id)}
decisions = {}
for message in session.messages("stim"):
    decisions[message.header.decision_id] = message.header

# %% Mean dF/F of the targets from 0 to 0.5 s after the decision, minus the half second before
for outcome in ("delivered", "withheld"):
    responses = []
    for decision in decisions.values():
        columns = [row_of_cell[roi_id] for roi_id in decision.target_ids if roi_id in row_of_cell]
        if decision.outcome != outcome or not columns:
            continue
        t_s = (traces.t_scan_ns - decision.t_decided_ns) / 1e9
        after, before = (t_s > 0) & (t_s <= 0.5), (t_s > -0.5) & (t_s <= 0)
        if after.any() and before.any():
            targets = traces.values[:, columns]
            responses.append(np.nanmean(targets[after]) - np.nanmean(targets[before]))
    if responses:
        print(f"{outcome}: {np.mean(responses):+.3f} dF/F, n = {len(responses)}")
