"""What must hold on average: false events and detection on the virtual rig (opt-in, minutes)."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy import stats
from system_rig import Start, small_rig, spikeloop, summary_of

SILENT_S = 600.0


@pytest.mark.statistics
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seeds", [(1, 2, 3, 4), (5, 6, 7, 8)])
def test_with_nobody_firing_false_events_are_as_rare_as_promised(start: Start, seeds: tuple[int, ...]) -> None:
    counted, expected = 0, 0.0
    for seed in seeds:
        rig = small_rig(microscope__sample__seed=seed)
        active = start(rig, "--baseline", "120", "--duration", "1", name=f"active-{seed}")
        assert active.wait() == 0, active.output()
        rig["microscope"]["sample"]["spontaneous"] = False
        arguments = ("--calibration", active.session / "calibration.h5", "--duration", str(SILENT_S), "--dry-run")
        silent = start(rig, *arguments, name=f"silent-{seed}")
        assert silent.wait() == 0, silent.output()
        summary = summary_of(silent.session)
        minutes = summary["cells"] * SILENT_S / 60
        counted += summary["spikes"]
        expected += minutes * rig["inference"]["false_alarms_per_min"]
    assert expected > 40
    low, high = stats.poisson.interval(0.99, expected)
    assert low <= counted <= high, f"{counted} false events, {expected:.0f} expected"


@pytest.mark.realtime
@pytest.mark.timeout(1200)
def test_the_default_rig_for_a_minute_in_real_time_finds_what_was_planted(tmp_path: Path) -> None:
    session = tmp_path / "session"
    done = spikeloop("run", "virtual_rig", "--duration", "60", "--output", session)
    assert done.returncode == 0, done.stderr
    summary = summary_of(session)
    assert summary["frames"] == 1800
    assert summary["frames_lost"] == 0
    assert summary["recall"] >= 0.75
    assert summary["precision"] >= 0.9


@pytest.mark.statistics
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [2, 3])
def test_fields_that_nothing_was_chosen_on_are_read_as_well(start: Start, seed: int) -> None:
    field = {"n_lines": 512, "pixels_per_line": 512, "sample__n_cells": 200, "sample__seed": seed}
    rig = small_rig(**{f"microscope__{key}": value for key, value in field.items()})
    run = start(rig, "--baseline", "120", "--duration", "60", "--dry-run", name=f"field-{seed}")
    assert run.wait() == 0, run.output()
    summary = summary_of(run.session)
    print({key: summary[key] for key in ("cells", "recall", "precision", "recall_all", "precision_all")})
    assert summary["frames_lost"] == 0
    assert summary["recall"] >= 0.75
    assert summary["precision"] >= 0.9
