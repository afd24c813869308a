"""What the trials of a protocol say: while it runs, in a few numbers; at the end, in full."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.effects.contrast import contrast_of, estimate
from protocols.effects.randomisation import randomisation_p
from protocols.running.assignment import Assignment
from protocols.running.trials import TrialStatus, TrialTable
from protocols.schema.design import ArmKind, Design


def contrasts(assignment: Assignment) -> list[tuple[str, int, int]]:
    """Name, treated arm and control arm of every comparison: the withheld trials are the control, else the sham."""
    kinds = assignment.kinds
    controls = [i for i, kind in enumerate(kinds) if kind is ArmKind.WITHHELD]
    controls = controls or [i for i, kind in enumerate(kinds) if kind is ArmKind.SHAM]
    if not controls:
        return []
    control = controls[0]
    names = assignment.names
    return [
        (f"{names[i]}_vs_{names[control]}", i, control)
        for i, kind in enumerate(kinds)
        if i != control and kind is not ArmKind.WITHHELD
    ]


def running_effect(table: TrialTable, assignment: Assignment, design: Design) -> dict[str, float]:
    """The first comparison as of now, for topic `state`; empty where there is nothing to compare."""
    found = contrasts(assignment)
    if not found or design.response is None:
        return {}
    _, treated, control = found[0]
    return _estimate(table, assignment, design, treated, control)


def _estimate(
    table: TrialTable, assignment: Assignment, design: Design, treated: int, control: int
) -> dict[str, float]:
    shares = _shares(assignment, design)
    share = shares[treated] / (shares[treated] + shares[control])
    return estimate(contrast_of(table, treated, control, share), design.block_size, design.alpha)


def _shares(assignment: Assignment, design: Design) -> list[float]:
    return [design.arms[name].share if name in design.arms else 1.0 for name in assignment.names]


def final_effects(table: TrialTable, assignment: Assignment, design: Design) -> dict[str, Any]:
    """Everything that is told at the end.

    Returns
    -------
    dict
        `arms`: trials by arm and status. `means`: by arm, n, mean and standard deviation of the response.
        `contrasts`: by name, the estimates of `contrast.estimate` and `p` of the randomisation test.
        `blind_voids`: voids are found from the validity of samples alone, before any arm is looked at.
    """
    comparisons: dict[str, Any] = {}
    for name, treated, control in contrasts(assignment) if design.response is not None else []:
        found: dict[str, Any] = dict(_estimate(table, assignment, design, treated, control))
        row = np.flatnonzero((table.status[: table.n] == TrialStatus.COMPLETE) & table.is_drawn[: table.n])
        draw = np.cumsum(table.is_drawn[: table.n])[row] - 1
        if len(row):
            found["p"] = randomisation_p(
                table.response[row], draw, table.arm[row], (treated, control), assignment.redraw, design.seed
            )
        comparisons[name] = found
    return {
        "arms": table.counts(),
        "means": _means(table),
        "contrasts": comparisons,
        "alpha": design.alpha,
        "block_size": design.block_size,
        "trials_beyond_memory": table.n_beyond,
    }


def _means(table: TrialTable) -> dict[str, dict[str, float | int | None]]:
    found: dict[str, dict[str, float | int | None]] = {}
    complete = table.status[: table.n] == TrialStatus.COMPLETE
    for index, name in enumerate(table.arm_names):
        y = table.response[: table.n][complete & (table.arm[: table.n] == index)]
        y = y[np.isfinite(y)]
        found[name] = {
            "n": len(y),
            "mean": float(y.mean()) if len(y) else None,
            "sd": float(y.std(ddof=1)) if len(y) > 1 else None,
        }
    return found
