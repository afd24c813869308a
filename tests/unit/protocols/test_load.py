"""A protocol file is found by name or path, and what is wrong in it is said with file and key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from protocols.checking.check import check_against_rig
from protocols.load import find_protocol, load_protocol, shipped_protocols
from protocols.schema.protocol import json_schema
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.rig_config import load_rig

ROOT = Path(__file__).parents[3]


def changed(tmp_path, **changes):
    """The shipped protocol with dotted keys changed (None removes the key)."""
    data = yaml.safe_load(find_protocol("spike_triggered").read_text(encoding="utf-8"))
    for dotted, value in changes.items():
        *parents, key = dotted.split(".")
        section = data
        for parent in parents:
            section = section[int(parent) if isinstance(section, list) else parent]
        if value is None:
            del section[key]
        else:
            section[key] = value
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", shipped_protocols())
def test_shipped_protocols_load_are_named_like_their_file_and_say_their_purpose_and_source_with_a_picture(name):
    assert find_protocol(name).read_text(encoding="utf-8").startswith("# Purpose: ")
    assert (ROOT / "docs" / "pictures" / "protocols" / f"{name}.png").is_file()
    config = load_protocol(find_protocol(name))
    assert config.name == name
    assert config.description
    assert config.source


@pytest.mark.parametrize("rig", ["virtual_rig", "stream"])
def test_the_protocol_of_the_shipped_rigs_stays_within_them(rig):
    config = load_protocol(find_protocol("spike_triggered"))
    check_against_rig(config, load_rig(ROOT / "hardware_configs" / f"{rig}.yaml"))


def test_the_committed_json_schema_is_that_of_the_models():
    assert (ROOT / "protocols" / "protocol.schema.json").read_text(encoding="utf-8") == json_schema()


def test_an_unknown_name_lists_what_is_shipped():
    with pytest.raises(ConfigError, match="spike_triggered") as error:
        find_protocol("spike_trigered")
    assert "spike_trigered" in str(error.value)
    assert find_protocol("spike_triggered").is_file()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"refractory_sm": 3}, "refractory_sm"),
        ({"design": None}, "design"),
        ({"triggers.spike.refractory_ms": "long"}, "refractory_ms"),
        ({"design.arms.stim.share": 1.5}, "design.arms.stim.share"),
        ({"design.arms.stim.share": 0.4}, "shares"),
        ({"cells.watched": {"select": "best"}}, "cells.watched.best.n"),
        ({"cells.watched": {"select": "worst", "n": 1}}, "cells.watched"),
        ({"cells.lit.but_not": ["nobody"]}, "cells.lit.but_not"),
        ({"actions.pulse.power_mw": -1}, "actions.pulse.pulse.power_mw"),
        ({"actions.pulse.power_mw": float("nan")}, "actions.pulse.pulse.power_mw"),
        ({"actions.pulse.targets": "nobody"}, "actions.pulse.targets"),
        ({"actions.pulse.pulses": 3}, "period_ms"),
        ({"phases.watch.reactions.0.trigger": "spikes"}, "phases.watch.reactions.0.trigger"),
        ({"phases.watch.reactions.0.go_to": "away"}, "phases.watch.reactions.0.go_to"),
        ({"triggers.spike.when": "full moon"}, "triggers.spike"),
        ({"triggers.spike": {"when": "all", "of": ["spike"]}}, "circle"),
        ({"design.response.signal": "mood"}, "design.response.signal"),
        ({"schema_version": 3}, "schema_version"),
        ({"schema_version": 1}, "version 2"),
    ],
)
def test_bad_values_name_file_and_key(tmp_path, changes, key):
    with pytest.raises(ConfigError) as error:
        load_protocol(changed(tmp_path, **changes))
    assert "mine.yaml" in str(error.value)
    assert key in str(error.value)
    assert "\n" not in str(error.value)


def test_torn_yaml_names_the_file(tmp_path):
    path = tmp_path / "torn.yaml"
    path.write_text("cells: {select: best", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"torn\.yaml"):
        load_protocol(path)


@pytest.mark.parametrize(
    ("changes", "key", "limit"),
    [
        ({"actions.pulse.power_mw": 20.1}, "actions.pulse.power_mw", "max_power_mw"),
        ({"actions.pulse.width_ms": 10.1}, "actions.pulse.width_ms", "max_width_ms"),
        ({"actions.pulse.pulses": 3, "actions.pulse.period_ms": 50.0}, "actions.pulse.period_ms", "min_gap_ms"),
        (
            {
                "actions.pulse.pulses": 200,
                "actions.pulse.period_ms": 110.0,
                "actions.pulse.width_ms": 9.9,
                "actions.pulse.power_mw": 1.0,
            },
            "actions.pulse.width_ms",
            "max_duty",
        ),
        (
            {"actions.pulse.pulses": 900, "actions.pulse.period_ms": 110.0},
            "actions.pulse.pulses",
            "max_energy_per_target_mj",
        ),
        ({"actions.pulse.output": "laser"}, "actions.pulse.output", "led"),
        ({"limits": {"laser": {}}}, "limits.laser", "led"),
        ({"limits": {"led": {"max_power_mw": 5.0}}}, "actions.pulse.power_mw", "max_power_mw"),
        ({"limits": {"led": {"max_powr_mw": 5.0}}}, "limits.led", "max_powr_mw"),
    ],
)
def test_what_can_never_pass_is_refused_at_load(tmp_path, changes, key, limit):
    path = changed(tmp_path, **changes)
    rig = load_rig(ROOT / "hardware_configs" / "virtual_rig.yaml")
    with pytest.raises(ConfigError) as error:
        check_against_rig(load_protocol(path), rig, str(path))
    for part in ("mine.yaml", key, limit):
        assert part in str(error.value)
