"""Which planes a rig infers, and rigs that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from system_rig import ROOT

from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.setup import Setup, inference_services, service_names


def rig(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((ROOT / "hardware_configs" / "virtual_rig.yaml").read_text(encoding="utf-8"))
    data["microscope"] |= changes.pop("microscope", {})
    return data | changes


def test_one_plane_is_served_under_the_name_it_always_had():
    config = RigConfig.model_validate(rig())
    assert config.planes_inferred == (0,)
    assert inference_services(config) == {0: "inference"}


def test_a_volume_has_one_service_and_one_port_for_each_plane():
    config = RigConfig.model_validate(rig(microscope={"n_planes": 3}))
    assert inference_services(config) == {0: "inference.0", 1: "inference.1", 2: "inference.2"}
    assert config.ports.inference_endpoint(2) == "tcp://127.0.0.1:5574"
    assert service_names(config) == (
        "recording", "inference.0", "inference.1", "inference.2", "stimulation", "acquisition", "telemetry",
    )  # fmt: skip


def test_a_service_knows_its_plane():
    config = RigConfig.model_validate(rig(microscope={"n_planes": 3}, planes=[0, 2]))
    setup = Setup(
        service="inference.2", rig=config.model_dump(mode="json"), session="s", folder="f", t_wall_ns=0,
        t_monotonic_ns=0, dry_run=False, lossless=False,
    )  # fmt: skip
    assert (setup.plane(), setup.kind) == (2, "inference")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"planes": [1]}, "there is no plane 1: microscope.n_planes is 1"),
        ({"planes": [1, 0], "microscope": {"n_planes": 2}}, "different and ascending"),
        ({"planes": [0, 0], "microscope": {"n_planes": 2}}, "different and ascending"),
        ({"planes": []}, "planes"),
        ({"planes": [-1]}, "planes"),
        ({"microscope": {"n_planes": 17}}, "n_planes"),
        ({"microscope": {"n_planes": 3}, "ports": {"inference": 5562}}, "recording and inference are both 5562|5562"),
        ({"microscope": {"n_planes": 3}, "ports": {"inference": 5558}}, "plane 2 would be 5560, that of stimulation"),
        ({"microscope": {"n_planes": 3}, "ports": {"inference": 65534}}, "plane 2 would be 65536, beyond 65535"),
    ],
)
def test_rigs_that_cannot_be_are_refused_in_clear_words(changes: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        RigConfig.model_validate(rig(**changes))
