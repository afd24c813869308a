"""A service that comes back by another connection is found there by its supervisor."""

from __future__ import annotations

from pathlib import Path

import zmq
from mqtt_rig import until
from safety_rig import FakeClock

from rt_engine.interfaces.control import decode_request
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.services.base import ANNOUNCE_PERIOD_NS
from rt_engine.services.own_ports import with_own_ports
from rt_engine.services.setup import Setup
from rt_engine.services.telemetry import TelemetryService
from rt_engine.transport.gate import SECRET


def test_a_service_says_again_who_it_is_when_its_link_was_lost(tmp_path: Path) -> None:
    rig, clock = with_own_ports(load_rig(find_rig("virtual_rig"))), FakeClock()
    plain = rig.model_dump(mode="json")
    setup = Setup("telemetry", plain, "s", str(tmp_path), 0, 0, True, False, recorded=False, secret="k")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    service = TelemetryService(setup, clock)
    service.state = "ready"
    identities = []
    try:
        for _ in range(2):  # the same supervisor, to whom the service comes by another connection
            router = context.socket(zmq.ROUTER)
            until(lambda router=router: _bound(router, rig.ports.endpoint("control")), "the port")  # type: ignore[misc]

            def heard(router: zmq.Socket[bytes] = router) -> bool:
                clock.step(ANNOUNCE_PERIOD_NS)
                service._health_if_due()
                return bool(router.poll(20))

            until(heard, "an announcement")
            identity, body = router.recv_multipart()
            identities.append(identity)
            request = decode_request(body)
            assert (request.cmd, request.args["service"], request.args["state"]) == ("announce", "telemetry", "ready")
            assert request.args[SECRET] == "k"
            router.close(linger=0)
    finally:
        service.publisher.close(linger_ms=0)
        service._supervisor.close(linger=0)
        service.context.destroy(linger=0)
        context.destroy(linger=0)
    assert identities[0] != identities[1]


def _bound(router: zmq.Socket[bytes], endpoint: str) -> bool:
    try:
        router.bind(endpoint)
    except zmq.ZMQError:
        return False
    return True
