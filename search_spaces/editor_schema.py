"""The JSON schema for editors: space-v1.json, which a comment in the first lines of a space names.

`python -m search_spaces.editor_schema` regenerates it after a change of the trainer's catalogue of settings.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from search_spaces.space import Space


class _ForEditors(GenerateJsonSchema):
    """Writes a parameter's three forms as plain `anyOf`, which editors handle best, and no titles."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        made = super().tagged_union_schema(schema)
        made["anyOf"] = made.pop("oneOf")
        return made


def json_schema() -> dict[str, Any]:
    """JSON Schema of a search space, format version 1."""
    schema = Space.model_json_schema(schema_generator=_ForEditors)
    blocks = schema.pop("$defs")
    inlined: dict[str, Any] = _inlined(schema, blocks)
    return {"$schema": GenerateJsonSchema.schema_dialect, **inlined, "title": "A tuner search space"}


def published() -> str:
    """The text of space-v1.json."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _inlined(schema: Any, blocks: dict[str, Any]) -> Any:
    """The schema with every reference replaced by its target: pydantic's names mean nothing to users."""
    if isinstance(schema, list):
        return [_inlined(inner, blocks) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        block = {key: value for key, value in blocks[schema["$ref"].rpartition("/")[2]].items() if key != "title"}
        beside = {key: value for key, value in schema.items() if key not in ("$ref", "default")}  # of whole blocks
        schema = {**block, **beside}
    return {key: _inlined(value, blocks) for key, value in schema.items()}


if __name__ == "__main__":
    Path(__file__).with_name("space-v1.json").write_text(published(), encoding="utf-8")
