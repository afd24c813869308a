"""A protocol file is found by name or path, and what is wrong in it is said with file and key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from protocols.load import check_against_limits, find_protocol, load_protocol, shipped_protocols
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
            section = section[parent]
        if value is None:
            del section[key]
        else:
            section[key] = value
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", shipped_protocols())
@pytest.mark.parametrize("rig", ["virtual_rig", "stream"])
def test_shipped_protocols_load_and_stay_within_the_shipped_rigs(name, rig):
    config = load_protocol(find_protocol(name))
    assert config.name == name
    outputs = load_rig(ROOT / "hardware_configs" / f"{rig}.yaml").outputs
    check_against_limits(config, {key: output.limits for key, output in outputs.items()})


def test_every_key_of_a_shipped_protocol_is_written_out_and_explained():
    text = find_protocol("spike_triggered").read_text(encoding="utf-8")
    config = load_protocol(find_protocol("spike_triggered"))
    for key in type(config).model_fields:
        assert f"\n{key}:" in text, key


def test_an_unknown_name_lists_what_is_shipped():
    with pytest.raises(ConfigError, match="spike_triggered") as error:
        find_protocol("spike_trigered")
    assert "spike_trigered" in str(error.value)
    assert find_protocol("spike_triggered").is_file()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"refractory_sm": 3}, "refractory_sm"),
        ({"refractory_ms": None}, "refractory_ms"),
        ({"refractory_ms": "long"}, "refractory_ms"),
        ({"withhold_probability": 1.5}, "withhold_probability"),
        ({"cells": {"select": "best"}}, "cells.best.n"),
        ({"cells": {"select": "worst", "n": 1}}, "cells"),
        ({"action.power_mw": -1}, "action.power_mw"),
        ({"action.power_mw": float("nan")}, "action.power_mw"),
        ({"action.targets": {"select": "ids", "ids": []}}, "action.targets.ids.ids"),
        ({"action.pulses": 3}, "period_ms"),
        ({"kind": "other"}, "kind"),
        ({"schema_version": 2}, "schema_version"),
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
        ({"action.power_mw": 20.1}, "action.power_mw", "max_power_mw"),
        ({"action.width_ms": 10.1}, "action.width_ms", "max_width_ms"),
        ({"action.pulses": 3, "action.period_ms": 50.0}, "action.period_ms", "min_gap_ms"),
        (
            {"action.pulses": 200, "action.period_ms": 110.0, "action.width_ms": 9.9, "action.power_mw": 1.0},
            "action.width_ms",
            "max_duty",
        ),
        ({"action.pulses": 900, "action.period_ms": 110.0}, "action.pulses", "max_energy_per_target_mj"),
        ({"action.output": "laser"}, "action.output", "led"),
        ({"limits": {"laser": {}}}, "limits.laser", "led"),
        ({"limits": {"led": {"max_power_mw": 5.0}}}, "action.power_mw", "max_power_mw"),
        ({"limits": {"led": {"max_powr_mw": 5.0}}}, "limits.led", "max_powr_mw"),
    ],
)
def test_what_can_never_pass_is_refused_at_load(tmp_path, changes, key, limit):
    path = changed(tmp_path, **changes)
    limits = {"led": load_rig(ROOT / "hardware_configs" / "virtual_rig.yaml").outputs["led"].limits}
    with pytest.raises(ConfigError) as error:
        check_against_limits(load_protocol(path), limits, str(path))
    for part in ("mine.yaml", key, limit):
        assert part in str(error.value)
