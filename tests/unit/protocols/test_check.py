"""What is proved is so, what can never be is an error, and what only the interlock bounds is a warning."""

from __future__ import annotations

from pathlib import Path

import pytest
from protocol_bench import protocol

from protocols.checking.check import check_protocol
from protocols.checking.demand import shortest_return_ms
from protocols.checking.findings import Verdict
from protocols.load import find_protocol, load_protocol, shipped_protocols
from rt_engine.cli import main
from rt_engine.interfaces.rig_config import load_rig

ROOT = Path(__file__).parents[3]
LIGHT = {"do": "pulse", "output": "led", "targets": "b", "power_mw": 8.0, "width_ms": 5.0}


def limits():
    outputs = load_rig(ROOT / "hardware_configs" / "virtual_rig.yaml").outputs
    return {name: output.limits for name, output in outputs.items()}


def findings(verdict, **sections):
    """Keys and texts of one verdict."""
    return [f"{f.key}: {f.text}" for f in check_protocol(protocol(**sections), limits()) if f.verdict is verdict]


@pytest.mark.parametrize("name", shipped_protocols())
def test_shipped_protocols_have_no_errors_on_the_virtual_rig(name):
    found = check_protocol(load_protocol(find_protocol(name)), limits())
    assert [one for one in found if one.verdict is Verdict.ERROR] == []
    assert sum(one.verdict is Verdict.PROVED for one in found) >= 2


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ({"when": "coincidence", "cells": "a", "k": 11, "window_ms": 50.0}, "at most 10"),
        ({"when": "below", "signal": "r", "level": 0.0}, "always between 0 and inf"),
        ({"when": "above", "signal": "p", "level": 1.0}, "always between 0 and 1"),
        (
            {"when": "all", "of": [{"when": "above", "signal": "r", "level": 2.0},
                                   {"when": "below", "signal": "r", "level": 1.0}]},
            "would have to be above",
        ),
        (
            {"when": "all", "of": [{"when": "event", "cells": "a"},
                                   {"when": "not", "of": {"when": "event", "cells": "a"}}]},
            "its opposite",
        ),
        ({"when": "event", "cells": "a", "hold_ms": 5.0}, "cannot be held"),
    ],
)  # fmt: skip
def test_conditions_that_can_never_hold_are_errors(trigger, words):
    signals = {"r": {"of": "rate", "cells": "a", "window_ms": 500.0},
               "p": {"of": "activity", "cells": "a", "field": "probability"}}  # fmt: skip
    assert any(words in one for one in findings(Verdict.ERROR, triggers={"t": trigger}, signals=signals))


def test_a_phase_that_nothing_leads_to_is_an_error_and_one_without_a_way_out_a_warning():
    phases = {
        "run": {"reactions": [{"trigger": "t", "do": ["light"], "go_to": "end"}]},
        "lost": {"timeout": {"after_ms": 10.0, "go_to": "run"}},
        "end": {},
    }
    assert any("phases.lost" in one for one in findings(Verdict.ERROR, phases=phases))
    assert any("phases.end: no way leads out" in one for one in findings(Verdict.WARNING, phases=phases))


def test_without_any_bound_the_interlock_is_said_to_be_the_only_one_and_with_one_rate_and_dose_are_proved():
    assert any("nothing bounds" in one for one in findings(Verdict.WARNING))
    trigger = {"when": "event", "cells": "a", "refractory_ms": 500.0}
    proved = findings(Verdict.PROVED, triggers={"t": trigger})
    # Two a second; 120 in a minute of 8 mW x 5 ms = 40 uJ; five targets an hour: 7,200 x 0.2 mJ.
    assert any("rate, Hz at most 2," in one for one in proved)
    assert any("dose of a target in 60 s, mJ at most 4.8" in one for one in proved)
    assert any("total dose at most 1440 mJ" in one for one in proved)
    fast = {"when": "event", "cells": "a", "refractory_ms": 50.0}
    assert any("rate, Hz may reach 20" in one for one in findings(Verdict.WARNING, triggers={"t": fast}))


def test_the_way_back_to_a_phase_is_the_shortest_of_all():
    phases = {
        "run": {"reactions": [{"trigger": "t", "go_to": "x"}, {"trigger": "t", "go_to": "y"}]},
        "x": {"timeout": {"after_ms": 300.0, "go_to": "run"}},
        "y": {"timeout": {"after_ms": 100.0, "go_to": "x"}},
    }
    config = protocol(phases=phases)
    assert shortest_return_ms(config, "run") == 300.0
    assert shortest_return_ms(config, "y") == 400.0


def test_the_command_ends_with_two_and_names_file_and_key(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    text = find_protocol("spike_triggered").read_text(encoding="utf-8")
    path.write_text(text.replace("power_mw: 8.0", "power_mw: 80.0"), encoding="utf-8")
    assert main(["protocol", "check", str(path), "--rig", "virtual_rig"]) == 2
    told = capsys.readouterr().err
    assert all(word in told for word in ("mine.yaml", "actions.pulse.power_mw", "max_power_mw"))
    assert main(["protocol", "check", "spike_triggered", "--json", str(tmp_path / "f.json")]) == 0
    assert (tmp_path / "f.json").is_file()
