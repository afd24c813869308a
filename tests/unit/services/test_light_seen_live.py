"""Light that a loop-back saw is in the health of the service at once, from the last line that decided it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
import zmq
from ni_rig import settings
from safety_rig import MS, FakeClock
from system_rig import small_rig

from rt_engine.interfaces.messages import Outcome, SyncHeader
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.stimulation import Decision, PulseRequest
from rt_engine.services.protocol_driver import ProtocolDriver
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.publisher import Publisher


@pytest.fixture
def driver() -> Iterator[ProtocolDriver]:
    """Of a rig whose `led` is measured by the input `light`."""
    rig = small_rig(microscope__pace="real_time")
    output = yaml.safe_load(settings(None).model_dump_json(exclude={"measured_by"}))
    rig["outputs"]["led"] = output | {"limits": rig["outputs"]["led"]["limits"], "measured_by": "light"}
    rig["inputs"] = {"light": {"device": "Dev1", "driver": "ni_edges", "counter": "ctr1", "terminal": "PFI3"}}
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    publisher = Publisher(context, endpoint, None, source="stimulation", session="s", clock=FakeClock())
    yield ProtocolDriver(RigConfig.model_validate(rig), None, publisher, lambda level, text: None)  # type: ignore[arg-type]
    publisher.close(linger_ms=0)
    context.destroy(linger=0)


def test_scan_to_output_is_from_the_last_line_to_the_edge(driver: ProtocolDriver) -> None:
    assert driver.latency_ms()["scan_to_output"] == {}
    t_scan_ns = 1000 * MS
    request = PulseRequest(
        rule="r", arm="stim", output="led", plane=0, frame=7, roi_ids=(1,), target_ids=(2,),
        targets_yx_px=((5.0, 5.0),), power_mw=8.0, width_ms=5.0, t_scan_ns=t_scan_ns, t_decided_ns=t_scan_ns + MS,
    )  # fmt: skip
    decision = Decision(
        decision_id="d", outcome=Outcome.DELIVERED, reason=None, output="led", t_command_ns=t_scan_ns + 2 * MS
    )
    driver._edges.remember(request, decision)
    edge = SyncHeader(
        source="acquisition", host="h", boot_id="b", seq=0, t_sent_ns=0, line="light", kind="edge",
        t_edge_ns=t_scan_ns + 3 * MS, edge="rising", t_first_ns=None, sample_rate_hz=None, dtype=None,
    )  # fmt: skip
    driver.take_sync(edge)
    assert driver.latency_ms()["scan_to_output"]["p50"] == pytest.approx(3.0)
    assert driver.latency_ms()["scan_to_command"] == {}
