"""A whole protocol file."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from protocols.schema.actions import ActionConfig
from protocols.schema.cells import CellSelection, Name
from protocols.schema.design import Design
from protocols.schema.phases import Phase
from protocols.schema.signals import SignalConfig
from protocols.schema.triggers import Condition
from rt_engine.interfaces.strict import Strict


class ProtocolConfig(Strict):
    """Which cells, what is followed, when something happens, what happens, and in which design."""

    schema_version: Literal[2]
    name: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")
    description: str = ""
    source: str = Field("", description="where the design comes from: paper, DOI")
    cells: dict[Name, CellSelection] = Field(min_length=1)
    signals: dict[Name, SignalConfig] = {}
    triggers: dict[Name, Condition] = {}
    actions: dict[Name, ActionConfig] = {}
    phases: dict[Name, Phase] = Field(min_length=1)
    design: Design
    limits: dict[str, dict[str, Any]] = Field(
        {}, description="limits stricter than the rig's by output, with the keys of the rig file"
    )


def json_schema() -> str:
    """The JSON Schema that ``protocols/protocol.schema.json`` holds."""
    return json.dumps(ProtocolConfig.model_json_schema(), indent=1, sort_keys=True) + "\n"
