"""The published schema."""

import json
from importlib import resources
from typing import Any

from search_spaces import json_schema
from search_spaces.editor_schema import published


def refs(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [ref for inner in schema for ref in refs(inner)]
    if isinstance(schema, dict):
        own = [schema["$ref"]] if "$ref" in schema else []
        return own + [ref for inner in schema.values() for ref in refs(inner)]
    return []


def test_the_published_file_is_the_schema() -> None:
    text = resources.files("search_spaces").joinpath("space-v1.json").read_text(encoding="utf-8")
    assert text == published(), "write it anew: python -m search_spaces.editor_schema"


def test_a_parameter_is_any_of_its_three_forms() -> None:
    lr = json_schema()["properties"]["stage1"]["properties"]["lr"]
    fixed, bounds, choices = lr["anyOf"]
    assert fixed == {"exclusiveMinimum": 0, "type": "number"}
    assert set(bounds["properties"]) == {"low", "high", "log", "step", "prior", "when"}
    assert set(choices["properties"]) == {"choices", "prior", "when"}


def test_it_stands_alone() -> None:
    assert refs(json_schema()) == []
    assert "oneOf" not in json.dumps(json_schema())
