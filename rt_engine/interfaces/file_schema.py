"""What an editor is told of values that may stand in a file of their own, and of those files."""

from __future__ import annotations

import json
from typing import Any

from pydantic import GetJsonSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema


class OrFile:
    """Marks a value for which a rig file may name a YAML file beside it; the reader puts its content in place."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The value as it is, or the name of a file."""
        schema = handler(core_schema)
        name = {"type": "string", "minLength": 1, "description": "name of a YAML file, relative to the rig file"}
        return {"anyOf": [*schema.get("anyOf", [schema]), name]}


def schema_of_file(whole: Any, title: str) -> str:
    """JSON Schema of a file that holds one such value."""
    schema = {"title": title} | TypeAdapter(whole).json_schema()
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
