"""A readout of cells in several planes has one sample a volume, of that volume alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.rois import Group, RoiTable
from protocols.running.channels import EventChannels
from protocols.running.signals import SignalBank
from protocols.schema.signals import ActivityField, ActivitySignal, ProjectionSignal, SignalConfig

FIELDS = ("spike", "dff")
CELLS = {0: 2, 1: 1, 4: 3}
"""Cells of three planes: rows 0-1, 2 and 3-5 of the table."""


def bank(cells: dict[str, tuple[int, ...]], **configs: SignalConfig) -> SignalBank:
    planes = np.repeat(list(CELLS), list(CELLS.values())).astype(np.int64)
    ids = np.concatenate([plane * 1_000_000 + 1 + np.arange(n) for plane, n in CELLS.items()]).astype(np.uint32)
    n = len(ids)
    rois = RoiTable(ids, np.zeros((n, 2)), np.ones(n, np.float32), np.ones(n, np.float32), planes=planes)
    groups = {name: Group(name, tuple(int(ids[row]) for row in rows), (), len(rows)) for name, rows in cells.items()}
    return SignalBank(configs, groups, rois, EventChannels(n))


def field(*dff: float) -> NDArray[np.float32]:
    return np.array([[99.0] * len(dff), dff], np.float32)


def mean_of(cells: str) -> ActivitySignal:
    return ActivitySignal(of="activity", cells=cells, field=ActivityField.DFF)


def test_the_mean_over_planes_comes_with_the_last_of_them() -> None:
    signals = bank({"some": (1, 3, 5)}, both=mean_of("some"))
    assert not signals.on_activity(0, FIELDS, field(7, 1), 10)
    assert not signals.on_activity(1, FIELDS, field(50), 11)
    assert math.isnan(signals.by_name["both"].raw)
    assert signals.on_activity(4, FIELDS, field(2, 70, 6), 12)
    assert signals.by_name["both"].raw == pytest.approx((1 + 2 + 6) / 3)
    assert signals.by_name["both"].n_samples == 1


def test_a_plane_that_did_not_come_gives_no_sample_and_never_that_of_the_volume_before() -> None:
    signals = bank({"some": (0, 1, 3)}, both=mean_of("some"))
    signals.on_activity(0, FIELDS, field(1, 1), 10)
    signals.on_activity(4, FIELDS, field(4, 0, 0), 12)
    assert signals.by_name["both"].raw == pytest.approx(2.0)
    signals.on_activity(4, FIELDS, field(4, 0, 0), 22)
    assert math.isnan(signals.by_name["both"].raw)
    assert signals.by_name["both"].value == pytest.approx(2.0)


def test_signals_of_one_plane_go_their_own_way() -> None:
    signals = bank({"a": (0, 1), "b": (2,)}, first=mean_of("a"), second=mean_of("b"))
    assert signals.on_activity(0, FIELDS, field(2, 4), 10)
    assert signals.by_name["first"].raw == pytest.approx(3.0)
    assert math.isnan(signals.by_name["second"].raw)
    assert signals.on_activity(1, FIELDS, field(8), 11)
    assert (signals.by_name["first"].n_samples, signals.by_name["second"].n_samples) == (1, 1)
    assert signals.by_name["second"].raw == pytest.approx(8.0)


def test_weights_are_in_the_order_of_the_group_whatever_the_planes() -> None:
    config = ProjectionSignal(of="projection", cells="some", field=ActivityField.DFF, weights=(1.0, 10.0, 100.0))
    signals = bank({"some": (5, 0, 2)}, both=config)
    signals.on_activity(0, FIELDS, field(2, 9), 10)
    signals.on_activity(1, FIELDS, field(3), 11)
    signals.on_activity(4, FIELDS, field(9, 9, 1), 12)
    assert signals.by_name["both"].raw == pytest.approx(1 + 20 + 300)
