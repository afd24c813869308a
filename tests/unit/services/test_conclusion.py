"""The last lines of a run say what there is, and nothing else."""

from __future__ import annotations

from typing import Any

from rt_engine.services.conclusion import summary_lines


def _summary(**changes: Any) -> dict[str, Any]:
    return {
        "frames": 10,
        "frames_lost": 1,
        "spikes": 2,
        "stim": {"delivered": 0, "withheld": 3},
        "latency_ms": {"scan_to_receive": {"p50": 1.0, "p99": 2.0, "max": 3.0}, "scan_to_output": None},
        "truth": None,
        **{"recall": None, "precision": None, "recall_all": None, "precision_all": None},
    } | changes


def test_counts_outcomes_and_measured_intervals_are_told() -> None:
    assert summary_lines(_summary()) == [
        "frames 10 (lost 1), events 2, light: 3 withheld",
        "  scan_to_receive: p50 1.00 ms, p99 2.00 ms, max 3.00 ms",
    ]


def test_a_share_that_cannot_be_told_is_a_dash() -> None:
    lines = summary_lines(_summary(truth={"cells": 4}, recall=0.5, recall_all=0.25))
    assert lines[-1] == (
        "against the truth, cells with A/σ ≥ 4: recall 0.50, precision – (medians); "
        "all cells pooled: recall 0.25, precision –"
    )
