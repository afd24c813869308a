"""What is wrong with a file that a person wrote: one line, and every key that wants looking at."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.shipped import find_rig


def test_the_first_finding_is_told_whole_and_of_the_others_the_keys(tmp_path: Path) -> None:
    rig = yaml.safe_load(find_rig("virtual_rig").read_text("utf-8"))
    rig["microscope"]["frame_rate"] = 30.0
    del rig["outputs"]["led"]["watchdog_ms"]
    rig["outputs"]["lamp"] = {"driver": "lamp"}
    path = tmp_path / "rig.yaml"
    path.write_text(yaml.safe_dump(rig), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_rig(path)
    told = str(caught.value)
    assert "microscope.frame_rate: is not a known key" in told
    assert "(and 2 more: " in told
    assert "outputs.led.watchdog_ms" in told
    assert "outputs.lamp.driver" in told


def test_of_very_many_findings_some_are_named(tmp_path: Path) -> None:
    rig = yaml.safe_load(find_rig("virtual_rig").read_text("utf-8")) | {f"odd_{k:02d}": k for k in range(30)}
    path = tmp_path / "rig.yaml"
    path.write_text(yaml.safe_dump(rig), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_rig(path)
    assert "(and 29 more: odd_01, odd_02, odd_03, odd_04, odd_05, odd_06, odd_07, odd_08 …)" in str(caught.value)
