"""Shipped rig files are valid, for us and for an editor that reads the schema beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.rig_config import RigConfig, load_rig, rig_schema
from rt_engine.interfaces.yaml_files import read_yaml

CONFIGS = Path(__file__).parents[3] / "hardware_configs"
RIGS = sorted(CONFIGS.glob("*.yaml"))


def test_the_committed_schema_is_that_of_the_models():
    assert (CONFIGS / "rig.schema.json").read_text(encoding="utf-8") == rig_schema()


@pytest.mark.parametrize("path", RIGS, ids=lambda path: path.stem)
def test_a_shipped_rig_is_valid_names_its_schema_and_itself(path):
    rig = load_rig(path)
    assert rig.name == path.stem
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=rig.schema.json\n")


def test_what_the_schema_allows_at_the_top_is_what_a_rig_may_say():
    assert set(RigConfig.model_json_schema()["properties"]) == set(RigConfig.model_fields)


@pytest.mark.parametrize(("change", "words"), [
    (("stop_line:", "stop_line: {line: light, closed: high}\n"), "tells level: take driver virtual, ni_line, or"),
    (("frame_clock:", "frame_clock: nothing\n"), "tells edges: take driver virtual_edges, ni_edges, or"),
])  # fmt: skip
def test_inputs_that_cannot_serve_are_refused(change, words, tmp_path):
    text = (CONFIGS / "virtual_ni.yaml").read_text(encoding="utf-8")
    inputs = "inputs:\n  light: {driver: ni_edges, device: Dev1, counter: ctr1, terminal: PFI3}\n"
    (tmp_path / "rig.yaml").write_text(text + inputs + change[1], encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_rig(tmp_path / "rig.yaml")


def test_real_light_needs_a_source_tied_to_the_clock(tmp_path):
    text = (CONFIGS / "virtual_ni.yaml").read_text(encoding="utf-8").replace("pace: real_time", "pace: max")
    (tmp_path / "rig.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="pace max"):
        load_rig(tmp_path / "rig.yaml")


@pytest.mark.parametrize("name", ["..", ".hidden", "../x", "a/b", "a\\b", "", "a b", "rig\n"])
def test_the_name_of_a_rig_is_no_path(name, tmp_path):
    described = {**read_yaml(CONFIGS / "virtual_rig.yaml"), "name": name}
    (tmp_path / "rig.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    with pytest.raises(ConfigError, match="name"):
        load_rig(tmp_path / "rig.yaml")
