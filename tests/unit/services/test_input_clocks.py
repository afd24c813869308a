"""What a run tells of the clocks of its cards stands in the summary and in the report of its session."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
from safety_rig import MS, FakeClock, S
from synthetic_session import SessionMaker

from drivers.inputs.ni_edges import NiEdges
from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.interfaces.messages import LogHeader
from rt_engine.interfaces.ni_config import NiEdgeInput
from rt_engine.recording.reader import open_session
from rt_engine.recording.report import write_report
from rt_engine.recording.summary import summarize
from rt_engine.services.input_clocks import FIRST_NS, PERIOD_NS, InputClockTeller


def test_drift_jitter_and_uncertainty_of_a_card_stand_in_the_session(tmp_path):
    clock, said = FakeClock(), list[tuple[str, str, dict[str, Any]]]()
    card = SimulatedCard("Dev1", clock.now_ns, drift_ppm=40.0)
    with serving([card]) as (_, port):
        values = {"driver": "ni_edges", "device": "Dev1", "counter": "ctr1", "terminal": "PFI3"}
        device = NiEdges("frames", NiEdgeInput.model_validate(values | {"server": f"127.0.0.1:{port}"}), clock)
        teller, begun_ns, errors = InputClockTeller(clock, lambda *told, **more: said.append((*told, more))), 0, []
        device.open()
        try:
            begun_ns = clock.now_ns()
            while clock.now_ns() < begun_ns + FIRST_NS + PERIOD_NS + S:
                t_ns = clock.now_ns() + 7 * MS + 123
                card.drive("PFI3", [(t_ns, 1.0), (t_ns + MS, 0.0)])
                clock.step(S)
                errors += [edge.t_edge_ns - t_ns for edge in device.take_edges()]
                teller.step({"frames": device})
            assert len(said) == 2
            teller.tell({"frames": device})
            teller.tell({"frames": device})
            assert len(said) == 3, "nothing is told twice"
        finally:
            device.close()
    maker = SessionMaker(tmp_path / "session")
    maker.session()
    for level, text, fields in said:
        maker.send("log", LogHeader, "acquisition", level=level, text=text, fields=fields)
    maker.send("log", LogHeader, "acquisition", level="info", text="odd", fields={"input_clocks": {"frames": {"x": 1}}})
    maker.close()
    session = open_session(tmp_path / "session")
    (name, told), *others = summarize(session)["input_clocks"].items()
    assert (name, others) == ("frames", [])
    assert abs(told["drift_ppm"] - 40.0) <= told["drift_uncertainty_ppm"] + 0.01 < 1.0
    assert np.abs(errors).max() <= told["uncertainty_ns"] < 1_000
    words = said[-1][1].removeprefix("input frames: ")
    assert "card clock +40.0 ppm" in words
    assert words.partition(", times")[0] in html.unescape(write_report(maker.folder).read_text(encoding="utf-8"))
