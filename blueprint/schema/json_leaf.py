"""JSON Schema of the values pydantic judges: numbers, words, and the texts that stand for them."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from blueprint.arithmetic import FUNCTIONS
from blueprint.formula import SITE_NAMES, Formed
from blueprint.site import Evaluated

Json = dict[str, Any]

#: Where the root keeps the schema of `${…}`.
INTERPOLATION: Json = {"$ref": "#/$defs/interpolation"}
INTERPOLATION_TEXT: Json = {
    "type": "string",
    "pattern": r"\$\{.*\}",
    "description": "A reference to another value of the spec, such as `${model.d_model}`.",
}

_WORDS = "|".join(sorted({*SITE_NAMES, *FUNCTIONS}, key=len, reverse=True))
EXPRESSION: Json = {
    "type": "string",
    # Each character can be read in one way only, so that no text takes a matcher long.
    "pattern": rf"^(?:[\s\d.+*/%(),-]|[eE](?=[-+\d])|(?:{_WORDS})\b)+$",
    "description": f"An expression of {', '.join(SITE_NAMES)}, such as `sqrt(d_model)`.",
}


def leaf(annotation: Any) -> Json:
    """The schema of a leaf, `${…}` admitted wherever a value other than free text is expected."""
    return referable(_leaf(annotation))


def _leaf(annotation: Any) -> Json:
    if get_origin(annotation) is Annotated:
        formed = next((mark for mark in get_args(annotation)[1:] if isinstance(mark, Formed)), None)
        if formed is not None:
            return any_of([_leaf(formed.of), EXPRESSION])
        marks = [mark for mark in get_args(annotation)[1:] if isinstance(mark, Evaluated)]
        if marks:
            number: Json = {"type": "integer", "exclusiveMinimum": 0} if marks[0].whole else {"type": "number"}
            if marks[0].counts:
                number["not"] = {"const": 0}
            return {"anyOf": [number, EXPRESSION]}
    if get_origin(annotation) in (Union, types.UnionType):
        return any_of([_leaf(part) for part in get_args(annotation)])
    if annotation is type(None):
        return {"type": "null"}
    try:
        found = TypeAdapter(annotation).json_schema()
    except PydanticInvalidForJsonSchema:
        return {}
    return {key: value for key, value in found.items() if key not in ("title", "description")}


def any_of(options: list[Json]) -> Json:
    """One schema that admits what any of `options` does."""
    flat: list[Json] = []
    for option in options:
        flat += [each for each in (option["anyOf"] if set(option) == {"anyOf"} else [option]) if each not in flat]
    return flat[0] if len(flat) == 1 else {"anyOf": flat}


def referable(schema: Json) -> Json:
    """The schema with `${…}` admitted beside values, and beside the items of lists and maps."""
    if not schema or _free_text(schema):
        return schema
    if "anyOf" in schema:
        options = [_inside(option) for option in schema["anyOf"]]
        return schema | {"anyOf": options if any(map(_free_text, options)) else [*options, INTERPOLATION]}
    if schema.get("type") == "null":
        return schema
    return {"anyOf": [_inside(schema), INTERPOLATION]}


def _inside(schema: Json) -> Json:
    if isinstance(schema.get("items"), dict):
        return schema | {"items": referable(schema["items"])}
    if isinstance(schema.get("additionalProperties"), dict):
        return schema | {"additionalProperties": referable(schema["additionalProperties"])}
    return schema


def _free_text(schema: Json) -> bool:
    return schema.get("type") == "string" and not set(schema) & {"pattern", "enum", "const"}
