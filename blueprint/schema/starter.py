"""A spec to start from, written from the schema itself, so that its comments cannot grow stale."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from blueprint.component import KINDS, Component, Section
from blueprint.describe import descriptions
from blueprint.registry import member, members, names
from blueprint.schema.expect import choices
from blueprint.schema.json_schema import required
from blueprint.schema.shape import Shape, fields
from blueprint.schema.spec import VERSION, Spec

_WIDTH = 100

#: Sizes by the words that all components share: a model that learns something in minutes on a CPU.
SIZES: dict[str, Any] = {"d_model": 256, "layers": 6, "max_length": 512, "heads": 8, "d_ff": 688, "vocab_size": 1024}
SIZES |= {"image_size": 32, "patch_size": 4}

#: What a starter says beyond what must be said: `...` leaves the choice of a member to the registry.
SAID: dict[str, Any] = {
    "blueprint": VERSION,
    "name": "starter",
    "model": {"layers": ..., "max_length": ..., "block": {"feed_forward": ...}},
    "tokenizer": ...,
    "data": {"length": 256},
    "trainer": {"max_steps": 200, "accelerator": "auto"},
}

_HEAD = """\
# A spec to start from. A line such as `# causal: true` shows a default: remove the `#` and change the value.
#   blueprint check FILE    says what is wrong with it      blueprint plan FILE        says what it means
#   blueprint train FILE -o runs/starter                    blueprint explain model.block.attention.heads
"""


def starter(model: str = "decoder") -> str:
    """The text of a commented spec of a kind of model, which passes `check`; raises UnknownComponent for its name."""
    member("model", model)
    said = {**SAID, "model": {"type": model, **SAID["model"]}}
    source = _source(model)
    if source is not None:
        said["data"] = {"source": {"type": source}, **SAID["data"]}
    return _HEAD + "\n".join(_section(Spec, said, 0)) + "\n"


def _source(model: str) -> str | None:
    """The first source that needs nothing more and gives what such a model usually learns from."""
    usual = getattr(member("model", model), "objective", None)
    wanted = getattr(member("objective", usual), "samples", ()) if usual else ("text",)
    found = (cls for cls in members("source") if getattr(cls, "gives", None) in wanted and not required(cls))
    return next((cls.spec_name for cls in found), None)


def _section(cls: type[Section], said: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Every field of a section: what is said or must be as it is, the others as comments."""
    needed, shapes = required(cls), fields(cls)
    for name, info in cls.model_fields.items():
        key = info.alias or name
        about = descriptions(cls).get(name, "")
        if key in said or key in needed:
            yield from _active(key, shapes[key], said.get(key, ...), about, depth)
        else:
            yield _comment(key, shapes[key], about, depth)


def _active(key: str, shape: Shape, value: Any, about: str, depth: int) -> Iterator[str]:
    lead = "  " * depth
    if depth == 0:
        yield ""
    yield from textwrap.wrap(
        about.rstrip(".") + _alternatives(shape), _WIDTH, initial_indent=f"{lead}# ", subsequent_indent=f"{lead}# "
    )
    if shape.form == "slot":
        inside = value if isinstance(value, Mapping) else {}
        cls = _chosen(shape, value)
        if not fields(cls):
            yield f"{lead}{key}: {cls.spec_name}"
            return
        yield f"{lead}{key}:"
        yield f"{lead}  type: {cls.spec_name}"
        yield from _section(cls, inside, depth + 1)
    elif shape.form == "section" and shape.cls is not None:
        yield f"{lead}{key}:"
        yield from _section(shape.cls, value if isinstance(value, Mapping) else {}, depth + 1)
    else:
        yield f"{lead}{key}: {_text(SIZES.get(key, 1) if value is ... else value)}"


def _chosen(shape: Shape, value: Any) -> type[Component]:
    """The member a slot holds: the one said, the default, or the first that needs nothing more."""
    said = value.get("type") if isinstance(value, Mapping) else None
    name = said or shape.type_name(None)
    if name is not None:
        return member(shape.kind, name)
    every = list(members(shape.kind))
    return next((cls for cls in every if not required(cls)), every[0])


def _comment(key: str, shape: Shape, about: str, depth: int) -> str:
    short = re.split(r"[.;:] ", about)[0].rstrip(".")
    return f"{'  ' * depth}# {key}: {_default(shape)}  # {short}{_alternatives(shape)}".rstrip()


def _alternatives(shape: Shape) -> str:
    """The words that may stand there, where there is a choice."""
    words = names(shape.kind) if shape.form == "slot" else choices(shape.annotation)
    return f" ({', '.join(words)})" if len(words) > 1 else ""


def _default(shape: Shape) -> str:
    if shape.form == "slot" and shape.inherit:
        return KINDS[shape.kind].fallback or "null"
    if shape.form == "section" and not shape.optional and shape.default is None:
        return "{}"
    value = shape.default
    return _text(value.to_plain() if isinstance(value, Section) else value)


def _text(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"(?!(?:null|true|false)$)[A-Za-z_][\w-]*", value):
        return value
    return json.dumps(value, ensure_ascii=False)
