"""Prometheus reads what the rig does, on loopback, and the dashboard asks for nothing that is not there."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from safety_rig import FakeClock
from wire_samples import health, session, spikes, state, stim

from rt_engine.interfaces.errors import ServiceError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.services.metrics import SILENT_NS, RigMetrics
from rt_engine.transport.free_ports import free_ports

DASHBOARD = Path(__file__).parents[3] / "docs" / "how-to" / "grafana-dashboard.json"


@pytest.fixture
def served() -> Iterator[tuple[RigMetrics, int]]:
    (port,) = free_ports(1)
    metrics = RigMetrics()
    metrics.serve(port)
    yield metrics, port
    metrics.close()


def read(port: int) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Sample name to labels to value, as Prometheus' own parser reads them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def fill(metrics: RigMetrics) -> None:
    """What a rig says in a moment."""
    for message in (
        *(spikes(frame, np.zeros(2, EVENT_DTYPE)) for frame in range(3)),
        health("inference", gaps=4, queue=2, fates={"missing": 5, "decided": 1800, "unused": 30, "discarded": 7}),
        state(interlock="tripped", trips=[{"t_ns": 1}]),
        stim("a"),
        stim("b"),
    ):
        metrics.take(message[1])


def test_figures_are_what_the_messages_say(served: tuple[RigMetrics, int]) -> None:
    metrics, port = served
    fill(metrics)
    found = read(port)
    assert found["spikeloop_messages_total"] == {(("plane", "0"),): 3}
    assert found["spikeloop_events_total"] == {(("plane", "0"),): 6}
    assert found["spikeloop_gaps_total"] == {(("service", "inference"),): 4}
    assert found["spikeloop_frames_total"][("fate", "missing"),] == 5
    assert found["spikeloop_stim_total"] == {(("outcome", "delivered"),): 2}
    assert found["spikeloop_trips_total"] == {(): 1}
    assert [dict(labels)["state"] for labels, on in found["spikeloop_interlock"].items() if on] == ["tripped"]
    assert found["spikeloop_dose_fraction"] == {(("limit", "total_energy"), ("output", "led")): 0.25}
    p99 = (("interval", "receive_to_decision"), ("quantile", "p99"), ("service", "inference"))
    assert found["spikeloop_latency_ms"][p99] == 1.0


def test_a_supervisor_that_is_silent_is_told_from_one_that_is_there() -> None:
    clock = FakeClock()
    metrics = RigMetrics(clock)
    metrics.take(session()[1])

    def state_of_supervisor() -> list[str]:
        families = {family.name: family for family in metrics.collect()}
        labels = [one.labels for one in families["spikeloop_service"].samples]
        return [one["state"] for one in labels if one["service"] == "supervisor"]

    assert state_of_supervisor() == ["ready"]
    clock.step(SILENT_NS + 1)
    assert state_of_supervisor() == ["silent"]


def test_a_rig_that_has_said_nothing_is_read_too(served: tuple[RigMetrics, int]) -> None:
    assert read(served[1]) == {}


def test_it_listens_on_loopback_alone(served: tuple[RigMetrics, int]) -> None:
    assert served[0]._server.server_address == ("127.0.0.1", served[1])


def test_a_port_that_is_taken_is_said(served: tuple[RigMetrics, int]) -> None:
    with pytest.raises(ServiceError, match=r"metrics\.port"):
        RigMetrics().serve(served[1])


def test_the_dashboard_asks_for_what_there_is(served: tuple[RigMetrics, int]) -> None:
    metrics, port = served
    fill(metrics)
    found = read(port)
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {name for expression in asked for name in re.findall(r"spikeloop_\w+", expression)}
    assert names
    assert names <= set(found), names - set(found)
    for expression in asked:
        assert selected(expression, found), expression
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            there = {key for labels in selected(target["expr"], found) for key, _ in labels}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= there, panel["title"]


Series = dict[tuple[tuple[str, str], ...], float]


def selected(expression: str, found: dict[str, Series]) -> Series:
    """What the one selector of a query finds, by Prometheus' rules."""
    ((name, _, matchers),) = re.findall(r"(spikeloop_\w+)(\{([^}]*)\})?", expression)
    kept = found[name]
    for label, how, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
        fits = {one: re.fullmatch(value if "~" in how else re.escape(value), dict(one)[label]) for one in kept}
        kept = {one: kept[one] for one in kept if (fits[one] is None) == how.startswith("!")}
    return kept


def test_frames_that_are_no_loss_are_not_among_the_losses(served: tuple[RigMetrics, int]) -> None:
    """A thousand frames a minute that were decided would hide one that was not."""
    metrics, port = served
    fill(metrics)
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    (losses,) = [panel for panel in dashboard["panels"] if panel["title"].startswith("Losses")]
    (asked,) = [one["expr"] for one in losses["targets"] if "spikeloop_frames_total" in one["expr"]]
    assert selected(asked, read(port)) == {(("fate", "missing"),): 5}
