"""A leaf of a spec: what pydantic makes of it, or what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from blueprint.diagnosis import nearest
from blueprint.schema.expect import choices, described, expectation
from blueprint.schema.paths import rooted
from blueprint.schema.placing import reached
from blueprint.tree import Node, Scalar, plain


@dataclass(frozen=True)
class Wrong:
    """What is wrong with a leaf: the message, the steps to the value inside it, that value, and what was meant."""

    message: str
    steps: tuple[str, ...]
    where: Node
    meant: str | None


def leaf(node: Node, annotation: Any) -> Any:
    """A value as pydantic judges it, strictly, or a `Wrong`."""
    value = plain(rooted(node, annotation))
    try:
        # JSON's strictness is the one meant here: a list may be a tuple, but no string is a number.
        return _adapter(annotation).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        # Of a union's branches, the one that got furthest into the value is the one that was meant.
        first, where, steps = max(
            ((e, *reached(node, e["loc"])) for e in error.errors()), key=lambda found: len(found[2])
        )
    if steps and first["type"] == "literal_error":
        message = f"expected {first['ctx']['expected']}, got {described(where)}".replace("'", "")
    elif first["type"] == "value_error":
        message = str(first["msg"]).removeprefix("Value error, ")
    else:
        # Inside a list, what is expected is what each of its items is.
        expected = expectation(annotation).removeprefix("a list, each " if steps else "")
        message = f"expected {expected}, got {described(where)}"
    word = where.value if isinstance(where, Scalar) else None
    meant = nearest(word, choices(annotation)) if isinstance(word, str) else None
    return Wrong(message, steps, where, meant)


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    # No number of a spec means anything when it is infinite or none.
    return TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False))
