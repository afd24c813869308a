"""What goes out of the traces of a frame, cell by cell."""

import math

NAN = math.nan


def published(blanks_decision, f_roi, f_np, dff, code, muted, calcium, spike, z, probability):
    """List of (fluorescence, neuropil, calcium, spike, z, probability, valid) of every cell."""
    cells = []
    for n in range(len(dff)):
        values = [f_roi[n], f_np[n], calcium[n], spike[n]]
        valid = math.isfinite(dff[n])
        if not valid:
            values = [NAN] * 4
        decision = [z[n], probability[n]]
        if blanks_decision and (muted[n] == 1 or code[n] not in (1, 3)):
            decision = [NAN, NAN]
        cells.append((*values, *decision, 1.0 if valid else 0.0))
    return cells
