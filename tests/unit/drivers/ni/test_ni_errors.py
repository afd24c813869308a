"""Whatever NI says becomes an error with device, channel and remedy; also what nobody has thought of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from ni_rig import ENABLE, ni_rig, settings
from nidaqmx import errors
from nidaqmx.error_codes import DAQmxErrors
from safety_rig import MS, FakeClock

from drivers.ni import connection
from drivers.ni.connection import NiConnection
from drivers.outputs.ni_daq import NiDaqOutput
from drivers.outputs.simulators.ni_server import ASK
from rt_engine.interfaces.errors import DeviceError

ROOT = Path(__file__).parents[4]


def said(error, server="host:31763"):
    with pytest.raises(DeviceError) as caught, NiConnection("led", "Dev1", server).errors("ao0"):
        raise error
    return caught.value


def test_every_error_of_the_driver_has_device_channel_and_remedy():
    assert len(DAQmxErrors) > 1000
    for code in DAQmxErrors:
        error = said(errors.DaqError("it does not work\n\nStatus Code: 1", code.value))
        assert error.message.startswith("led: Dev1 ao0: it does not work")
        assert str(code.value) in error.message
        assert error.remedy
    for code in (-50405, -200089, -201476):
        assert "look up" not in said(errors.DaqError("x", code)).remedy
    assert "-12345" in said(errors.DaqError("x", -12345)).remedy


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_error_of_the_server_has_device_channel_server_and_remedy(code):
    error = said(errors.RpcError(code, "it does not work"))
    assert error.message.startswith("led: Dev1 ao0 at host:31763")
    assert code.name in error.message
    assert error.remedy


def test_an_old_driver_a_missing_one_and_a_computer_that_cannot_have_one_are_told_apart():
    old = said(errors.DaqFunctionNotSupportedError("no such function"), None)
    assert "older than its package" in old.remedy
    assert "install NI-DAQmx from ni.com, or" in said(errors.DaqNotFoundError("none"), None).remedy


def test_a_server_that_is_slow_is_waited_for_and_one_that_hangs_is_told(monkeypatch):
    monkeypatch.setattr(connection, "DEADLINE_S", 0.3)
    with ni_rig() as rig:
        rig.servicer.slow_ms = 2.0
        rig.armed()
        rig.servicer.slow_ms = 1500.0
        rig.turn(5)
        rig.servicer.slow_ms = 0.0
        text = rig.interlock.trips[-1].text
        assert "Dev1 watchdog at 127.0.0.1" in text
        assert "DEADLINE_EXCEEDED" in text
        assert "too slow or hangs" in text
        assert not rig.interlock.is_armed
        rig.clock.step(51 * MS)
        assert rig.card.level(ENABLE) == 0.0


def test_the_voltage_never_exceeds_its_limit_whatever_the_table_says():
    with ni_rig(pulse__max_v=1.2) as rig:
        rig.armed()
        decision = rig.interlock.request(rig.request(power_mw=8.0))  # 1.25 V
        assert decision.outcome == "failed"
        assert "voltage_v 1.25 is beyond its limit 1.2" in decision.reason
        assert rig.light() == rig.card.signal("ao0").steps() == []


def test_the_simulated_card_runs_as_a_program_of_its_own():
    command = [sys.executable, "-m", "drivers.outputs.simulators.ni_server", "--wire", "PFI0=port0/line7"]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        _looks_like_a_card(json.loads(child.stdout.readline())["port"])
    finally:
        child.stdin.close()
        assert child.wait(60) == 0
        child.stdout.close()


def _looks_like_a_card(port):
    def ask(**what):
        return json.loads(channel.unary_unary(ASK)(json.dumps(what).encode(), timeout=60))

    output = NiDaqOutput("led", settings(port), FakeClock(), lambda light: None)
    output.open()
    assert output.self_test()
    assert output.versions["NI-DAQmx"].endswith(f"127.0.0.1:{port}")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert "spikeloop-led-watchdog" in ask(do="tasks")
        output.close()
        assert ask(do="tasks") == {}
        assert ask(do="level", name=ENABLE) == 0.0
