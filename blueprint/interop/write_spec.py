"""A spec as a person would write it: repeated layers once, nothing that goes without saying, small maps on one line."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

from blueprint.arithmetic import ArithmeticFault
from blueprint.component import Component
from blueprint.diagnosis import SpecError
from blueprint.interop.compress import compress
from blueprint.load import loads, scalars
from blueprint.load.dump import dump
from blueprint.plan import Plan, described, plan
from blueprint.schema.layers import Depth, variants
from blueprint.schema.shape import Shape, fields
from blueprint.schema.spec import VERSION, Spec
from blueprint.schema.validate import validate
from blueprint.tree import Map, Source, Span, from_plain, plain

_WIDTH = 110
#: What one reads first of a model.
_FIRST = ("type", "vocab_size", "d_model", "layers", "max_length")
#: Where variants stand, which lie over the common block.
_LAYERED = ("blocks", "overrides")
_HERE = Span(Source("spec"))
_PLAIN = re.compile(r"[\w(][\w ()*/+.-]*")


def spec_text(spec: Spec, proven: Plan, origin: str | None = None) -> str:
    """The text of a spec, with a comment that says where it came from; its plan is proven to be `proven`."""
    plugins = list(spec.plugins)
    said = {"blueprint": VERSION, **spec.to_plain(defaults=False)}
    if plugins:
        said["plugins"] = plugins
    head = "".join(f"# {line}\n" for line in textwrap.wrap(origin or "", _WIDTH - 2))
    # The second form is longer, and cannot go wrong.
    for plainly in (False, True):
        whole = {**said, "model": written(spec, plainly=plainly)}
        text = head + yaml_text(whole if plainly else minimal(whole))
        try:
            if plan(loads(text, allow_plugins=True)).hash == proven.hash:
                return text
        except SpecError:
            continue
    raise AssertionError("a spec written out does not read back to the same plan")


def written(spec: Spec, *, plainly: bool = False) -> dict[str, Any]:
    """The model section of a spec as plain values, its layers said as briefly as they can be."""
    said = spec.model.laid({side: _layers(stack, plainly) for side, stack in spec.model.stacks().items()})
    return _ordered({key: _ordered(each) if key in spec.model.stacks() else each for key, each in said.items()})


def _ordered(said: dict[str, Any]) -> dict[str, Any]:
    order = sorted(said, key=lambda key: _FIRST.index(key) if key in _FIRST else len(_FIRST))
    return {key: said[key] for key in order}


def _layers(stack: Depth, plainly: bool) -> dict[str, Any]:
    """What says the layers of one stack."""
    said, whole = stack.whole_blocks(defaults=False), stack.whole_blocks()
    names = variants(stack.layers, stack.pattern, stack.overrides)
    layers = compress(
        [from_plain(said[name], _HERE) for name in names],
        whole=[whole[name] for name in names],
        shared=stack.share is not None,
        plainly=plainly,
    )
    return {key: plain(entry.value) for key, entry in layers.entries(_HERE).items()}


def minimal(said: dict[str, Any]) -> dict[str, Any]:
    """What is left of a spec's plain values without what its model would have anyway.

    Defaults are gone already; this takes out, by trying, what parts fill in for themselves (`kv_heads` as `heads`).
    """
    model = said["model"]
    rest = {key: value for key, value in said.items() if key in ("tokenizer", "precision", "trainer")}
    before = _identity(model, rest)
    tried: set[tuple[str, ...]] = set()
    # What is taken out of a part may leave its type alone, which may go in turn.
    while paths := [path for path in _candidates(model, fields(Spec)["model"], ()) if path not in tried]:
        tried |= set(paths)
        for path in paths:
            fewer = _without(model, path)
            if before is not None and _identity(fewer, rest) == before:
                model = fewer
    model = {"type": model["type"], **_untyped(model, fields(Spec)["model"])}
    return {key: _short(inner) for key, inner in {**said, "model": model}.items()}


def _candidates(value: Any, shape: Shape, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The fields that a part may fill in for itself: those without a default, with arithmetic for one, or inherited."""
    if not isinstance(value, dict):
        return
    cls = shape.member_of(from_plain(value, _HERE))
    if shape.form == "map" and shape.item is not None:
        for key, inner in value.items():
            yield from _candidates(inner, shape.item, (*path, key))
    if cls is None:
        return
    required = {info.alias or name for name, info in cls.model_fields.items() if info.is_required()}
    sums = {name for name, _ in cls.expressions()} if issubclass(cls, Component) else set()
    for key, inner in fields(cls).items():
        if key not in value or (key in ("block", *_LAYERED) and not isinstance(value[key], dict)):
            continue
        # Of what variants have in common, a type alone may be left.
        bare = value[key] == {"type": inner.type_name(None)} if inner.form == "slot" else False
        unsaid = inner.default is None or inner.inherit or key in sums or bare
        if key not in required and unsaid and inner.form != "map":
            yield (*path, key)
        yield from _candidates(value[key], inner, (*path, key))


def _untyped(value: Any, shape: Shape) -> Any:
    """A part that says no type where the slot's default is meant; variants keep theirs, as they lie over others."""
    cls = shape.member_of(from_plain(value, _HERE)) if isinstance(value, dict) else None
    if cls is None:
        return value
    out = {}
    for key, inner in value.items():
        known = fields(cls).get(key)
        out[key] = inner if known is None or key in _LAYERED else _untyped(inner, known)
    unsaid = shape.form == "slot" and not shape.inherit and shape.default is not None and len(out) > 1
    inherits = issubclass(cls, Component) and cls.inherits and not shape.establishes
    if unsaid and not inherits and shape.type_name(None) == out.get("type"):
        del out["type"]
    return out


def _short(value: Any) -> Any:
    """Maps that say a type and nothing else, as the type's name."""
    if isinstance(value, dict):
        inner = {key: _short(item) for key, item in value.items()}
        return inner["type"] if inner.keys() == {"type"} and isinstance(inner["type"], str) else inner
    return [_short(item) for item in value] if isinstance(value, list) else value


def _identity(model: dict[str, Any], rest: dict[str, Any]) -> Any:
    """What a trial must keep: the parts outside the layers, and each variant where it stands first and last.

    None where the spec would not be valid.
    """
    root = from_plain({**rest, "model": model}, _HERE)
    assert isinstance(root, Map)
    spec, problems = validate(root, Spec)
    if spec is None or problems:
        return None
    site = spec.model.site()
    try:
        parts = [(name, described(part.filled(at))) for name, part, at in spec.model.parts(site)]
        sides = {}
        places = spec.model.sides(site)
        for side, stack in spec.model.stacks().items():
            at = places[side]
            layers = stack.layer_list(at)
            last = {layer.variant: index for index, layer in enumerate(layers)}
            first = {layer.variant: index for index, layer in reversed(list(enumerate(layers)))}
            ends = sorted({*first.values(), *last.values()})
            filled = [(index, described(layers[index].block.filled(layers[index].site))) for index in ends]
            numbers = (at.d_model, at.max_length, at.vocab_size, at.causal)
            sides[side] = [numbers, filled, [(layer.variant, layer.weights_of) for layer in layers]]
    except ArithmeticFault:
        return None
    return parts, sides


def _without(value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """A copy that lacks the value at a path."""
    key, *rest = path
    if rest:
        return {**value, key: _without(value[key], tuple(rest))} if isinstance(value.get(key), dict) else value
    return {name: inner for name, inner in value.items() if name != key}


# Text.


def yaml_text(value: dict[str, Any]) -> str:
    """A map as YAML: small maps on one line, lists on one line or wrapped, everything else by indentation."""
    return "\n".join(_lines(value, 0)) + "\n"


def _lines(value: dict[str, Any], depth: int) -> Iterator[str]:
    lead = "  " * depth
    for key, item in value.items():
        head = f"{lead}{_scalar(key)}:"
        nested = isinstance(item, dict) and any(isinstance(inner, dict) for inner in item.values())
        line = f"{head} {flow(item)}"
        if isinstance(item, dict) and item and depth < 20 and (nested or depth == 0 or len(line) > _WIDTH):
            yield head
            yield from _lines(item, depth + 1)
        elif isinstance(item, list) and len(line) > _WIDTH:
            yield f"{head} ["
            yield from textwrap.wrap(
                flow(item)[1:-1],
                _WIDTH,
                initial_indent=f"{lead}  ",
                subsequent_indent=f"{lead}  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            yield f"{lead}]"
        else:
            yield line


def flow(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        bare = _PLAIN.fullmatch(value) and value == value.strip() and scalars.resolve(value) == value
        return value if bare and scalars.hint(value) is None else dump(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, float):
        # 1e-05 is how machines write 1e-5.
        return re.sub(r"e([+-])0*(\d)", lambda found: f"e{found[1].replace('+', '')}{found[2]}", dump(value))
    return dump(value)
