"""Edges are told in the host's time, whatever the card's clock does."""

from __future__ import annotations

import numpy as np
import pytest
from safety_rig import MS, FakeClock

from drivers.inputs.clock_relation import ClockRelation
from drivers.inputs.ni_edges import NiEdges, unwrap
from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.ni_config import NiEdgeInput

S = 1_000_000_000


def edges_input(port, **changes):
    values = {
        "driver": "ni_edges",
        "device": "Dev1",
        "server": f"127.0.0.1:{port}",
        "counter": "ctr1",
        "terminal": "PFI3",
    }
    return NiEdgeInput.model_validate(values | changes)


@pytest.mark.parametrize("drift_ppm", [0.0, 50.0, -200.0])
def test_edges_of_a_drifting_card_are_told_in_the_time_of_the_host(drift_ppm):
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns, drift_ppm=drift_ppm)
    with serving([card]) as (_, port):
        edges = NiEdges("frames", edges_input(port), clock)
        edges.open()
        try:
            true_ns, found = [], []
            for _ in range(150):
                t_ns = clock.now_ns() + 3 * MS + 12_345
                card.drive("PFI3", [(t_ns, 1.0), (t_ns + MS, 0.0)])
                true_ns.append(t_ns)
                clock.step(333 * MS)
                found += edges.take_edges()
            told = edges.tell_clock()
        finally:
            edges.close()
    assert len(found) == len(true_ns) == edges.edges
    errors_ns = np.abs(np.array([edge.t_edge_ns for edge in found]) - true_ns)
    assert errors_ns.max() <= 20
    assert errors_ns.max() <= told.uncertainty_ns <= 100, "true from the first edge on"
    assert edges.relation.drift_ppm == pytest.approx(drift_ppm, abs=0.1)


def test_a_relation_follows_precise_readings_more_than_loose_ones_and_says_how_sure_it_is():
    random = np.random.default_rng(1)
    relation = ClockRelation()
    for i in range(200):
        host_ns = 5 * S + i * S // 2
        slack_ns = 2_000 if i % 4 == 0 else 400_000
        off_ns = int(random.uniform(-1, 1) * slack_ns)
        device_ns = round((host_ns - 5 * S) * (1 + 30e-6))
        relation.add(device_ns, host_ns - slack_ns + off_ns, host_ns + slack_ns + off_ns)
    assert relation.drift_ppm == pytest.approx(30.0, abs=0.1)
    assert abs(relation.host_ns(round(100 * S * (1 + 30e-6))) - 105 * S) < 2_000
    assert relation.uncertainty_ns(round(100 * S * (1 + 30e-6))) < 4_000


@pytest.mark.parametrize("drift_ppm", [0.0, 40.0, -150.0])
@pytest.mark.parametrize("n_readings", [1, 2, 3, 5, 40, 300])
def test_a_time_is_never_said_to_be_known_better_than_it_is(drift_ppm, n_readings):
    """Readings whose place between the two looks at the clock is uneven, and times from before them to far behind."""
    random = np.random.default_rng(n_readings)
    device_of = lambda host_ns: round((host_ns - 5 * S) * (1 + drift_ppm * 1e-6))  # noqa: E731
    for _ in range(20):
        relation, host_ns = ClockRelation(10), 5 * S
        for _ in range(n_readings):
            before_ns, after_ns = random.exponential((5_000, 50_000)).astype(int)
            relation.add(device_of(host_ns) // 10 * 10, host_ns - int(before_ns), host_ns + int(after_ns))
            host_ns += round(random.uniform(0.02, 1.0) * S)
        true_ns = np.array([host_ns + round(s * S) for s in (-2.0, -0.3, 0.0, 0.5, 10.0)])
        told = relation.told(np.array([device_of(t) for t in true_ns.tolist()]))
        assert (np.abs(told.host_ns - true_ns) <= told.uncertainty_ns).all()
        assert abs(relation.drift_ppm - drift_ppm) <= 2 * relation.drift_uncertainty_ppm + 1e-3
        assert (np.diff(told.uncertainty_ns[2:]) > 0).all(), "the further, the less is known"
    if n_readings == 300:
        assert told.uncertainty_ns[3] < 20_000


def test_a_clock_that_is_stepped_is_not_said_to_be_known():
    relation = ClockRelation()
    for i in range(60):
        host_ns = i * S + (S // 100 if i >= 30 else 0)
        relation.add(i * S, host_ns - 1_000, host_ns + 1_000)
    told = relation.told(np.array([10 * S, 50 * S]))
    assert (np.abs(told.host_ns - [10 * S, 50 * S + S // 100]) <= told.uncertainty_ns).all()
    assert told.uncertainty_ns.min() > S // 1000


@pytest.mark.parametrize(("count", "near", "full"), [
    (5, 0, 5), (3, 2**32 - 2, 2**32 + 3), (2**32 - 4, 2**32 + 1, 2**32 - 4), (7, 5 * 2**32 + 1, 5 * 2**32 + 7),
])  # fmt: skip
def test_a_register_that_wraps_goes_on(count, near, full):
    assert unwrap(count, near) == full


def test_a_counter_that_another_program_holds_is_named():
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns)
    card.faults.add("reserved:counter:ctr1")
    with serving([card]) as (_, port):
        edges = NiEdges("frames", edges_input(port), clock)
        with pytest.raises(DeviceError, match=r"frames: Dev1 ctr1: .*-50103.*another program"):
            edges.open()
