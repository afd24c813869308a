"""What a rig file must say of an output that can emit real light, whatever its driver."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import yaml
from pydantic import ValidationError
from system_rig import ROOT

from rt_engine.interfaces.output_config import Limits, VirtualOutput
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.strict import Strict


class CardOutput(Strict):
    """A driver whose own section asks for nothing."""

    driver: Literal["card"]
    watchdog_ms: float | None = None
    limits: Limits


class CardRig(RigConfig):
    """A rig that may have one."""

    outputs: dict[str, CardOutput | VirtualOutput]  # type: ignore[assignment]


def rig(**output: Any) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((ROOT / "hardware_configs" / "virtual_rig.yaml").read_text(encoding="utf-8"))
    data["outputs"]["led"].pop("watchdog_ms")
    data["outputs"]["led"] |= output
    return data


@pytest.mark.parametrize(("watchdog", "words"), [({}, "is required"), ({"watchdog_ms": 101.0}, "101 is too long")])
def test_real_light_needs_a_watchdog_of_a_hundred_milliseconds_at_most(watchdog: dict[str, float], words: str) -> None:
    with pytest.raises(ValidationError, match=f"outputs.led.watchdog_ms {words}: at most 100 for real light"):
        CardRig.model_validate(rig(driver="card", **watchdog))


def test_a_short_one_is_accepted_and_virtual_light_may_have_a_longer_one() -> None:
    assert CardRig.model_validate(rig(driver="card", watchdog_ms=100.0)).outputs["led"].watchdog_ms == 100.0
    assert CardRig.model_validate(rig(driver="virtual", watchdog_ms=1000.0)).all_outputs_virtual


@pytest.mark.parametrize("key", ["max_energy_mj", "max_pulses", None])
def test_a_rig_without_limits_of_a_session_or_with_one_missing_is_refused(key: str | None) -> None:
    data = rig(driver="virtual", watchdog_ms=1000.0)
    if key is None:
        del data["session_limits"]
    else:
        del data["session_limits"][key]
    with pytest.raises(ValidationError, match="Field required"):
        RigConfig.model_validate(data)


def test_an_output_without_limits_or_with_one_missing_is_refused() -> None:
    data = rig(driver="card", watchdog_ms=50.0)
    for key in (*data["outputs"]["led"]["limits"], None):
        lacking = rig(driver="card", watchdog_ms=50.0)
        if key is None:
            del lacking["outputs"]["led"]["limits"]
        else:
            del lacking["outputs"]["led"]["limits"][key]
        with pytest.raises(ValidationError, match="Field required"):
            CardRig.model_validate(lacking)
