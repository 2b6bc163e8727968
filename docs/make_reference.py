"""Writes `docs/reference.md` from the registry: every kind, every component, every field. Run it after a change."""

from __future__ import annotations

import inspect
from pathlib import Path

from blueprint.component import KINDS, Component
from blueprint.describe import descriptions
from blueprint.registry import kinds, members
from blueprint.schema.expect import expectation
from blueprint.schema.shape import Shape, fields


def page() -> str:
    """The whole page."""
    out = [
        "# Components",
        "",
        "Every component that ships, generated from the registry. `blueprint explain` says more.",
    ]
    for kind in kinds():
        out += ["", f"## {kind}", "", inspect.cleandoc(KINDS[kind].__doc__ or "")]
        for cls in members(kind):
            out += ["", f"### `{cls.spec_name}`", "", inspect.cleandoc(cls.__doc__ or ""), *table(cls)]
    return "\n".join(out).rstrip() + "\n"


def table(cls: type[Component]) -> list[str]:
    """The fields of a component as the lines of a table."""
    shapes, said = fields(cls), descriptions(cls)
    rows = []
    for name, info in cls.model_fields.items():
        shape = shapes[info.alias or name]
        cells = (f"`{info.alias or name}`", expects(shape), default(info.is_required(), shape), said.get(name, ""))
        rows.append(f"| {' | '.join(cells)} |")
    return ["", "| field | takes | default | |", "|---|---|---|---|", *rows] if rows else []


def expects(shape: Shape) -> str:
    """What a field takes."""
    if shape.form == "slot":
        return f"a {shape.kind}" + (" or a list of them" if shape.many else "")
    return expectation(shape.annotation) if shape.form == "leaf" else f"a {shape.form}"


def default(required: bool, shape: Shape) -> str:
    """What stands where nothing is said."""
    if required:
        return "required"
    return "inherited" if shape.inherit else "null" if shape.default is None else f"`{shape.default}`"


if __name__ == "__main__":
    Path(__file__).with_name("reference.md").write_text(page())
