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
from rt_engine.interfaces.rig_config import RigConfig, load_rig

ROOT = Path(__file__).parents[3]
LIGHT = {"do": "pulse", "output": "led", "targets": "b", "power_mw": 8.0, "width_ms": 5.0}


def rig(**changes):
    """The virtual rig with sections changed."""
    shipped = load_rig(ROOT / "hardware_configs" / "virtual_rig.yaml")
    return RigConfig.model_validate(shipped.model_dump() | changes)


def findings(verdict, on=None, **sections):
    """Keys and texts of one verdict."""
    found = check_protocol(protocol(**sections), on or rig())
    return [f"{f.key}: {f.text}" for f in found if f.verdict is verdict]


@pytest.mark.parametrize("name", shipped_protocols())
def test_shipped_protocols_have_no_errors_on_the_virtual_rig(name):
    found = check_protocol(load_protocol(find_protocol(name)), rig())
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


def test_a_session_lasts_as_long_as_its_limits_and_a_firing_beyond_them_never_passes():
    trigger = {"t": {"when": "event", "cells": "a", "refractory_ms": 500.0}}
    # 7,200 pulses and 1,440 mJ in an hour.
    tight = rig(session_limits={"max_energy_mj": 720.0, "max_pulses": 7200})
    assert any(
        "pulses in an hour at most 7200, limit 7200" in one for one in findings(Verdict.PROVED, tight, triggers=trigger)
    )
    told = findings(Verdict.WARNING, tight, triggers=trigger)
    assert any(
        "max_energy_mj: energy in an hour, mJ, may reach 1440, limit 720: used up after 30.0 min" in one for one in told
    )
    design = {"seed": 1, "stop": {"after_s": 60.0}}
    proved = findings(Verdict.PROVED, tight, triggers=trigger, design=design)
    assert any("energy in the 60 s of the session, mJ, at most 24, limit 720" in one for one in proved)
    train = {"light": {**LIGHT, "pulses": 3, "period_ms": 200.0}}
    few = rig(session_limits={"max_energy_mj": 0.1, "max_pulses": 2})
    errors = findings(Verdict.ERROR, few, triggers=trigger, actions=train)
    assert any("gives 0.12 mJ" in one and "max_energy_mj 0.1" in one for one in errors)
    assert any("gives 3 pulses" in one and "max_pulses 2" in one for one in errors)


def test_what_nothing_bounds_is_counted_at_the_rate_that_the_output_allows():
    few = rig(session_limits={"max_energy_mj": 1e6, "max_pulses": 3600})
    told = findings(Verdict.WARNING, few)
    assert any("max_pulses: pulses in an hour may reach 36000" in one and "after 6.0 min" in one for one in told)


def test_a_line_that_the_rig_does_not_have_is_an_error_and_one_that_it_has_is_not():
    trigger = {"t": {"when": "all", "of": [{"when": "line", "line": "lick"}, {"when": "event", "cells": "a"}]}}
    told = findings(Verdict.ERROR, triggers=trigger)
    assert any("triggers.t.line: the rig has no line 'lick'" in one and "there is: none" in one for one in told)
    wired = rig(inputs={"lick": {"driver": "virtual"}})
    assert not any("line" in one for one in findings(Verdict.ERROR, wired, triggers=trigger))


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
