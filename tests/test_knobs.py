"""No dead knob: every key of a model section changes it, and the plan's hash changes exactly when the model does.

The schema is walked, so that a new component's keys are tried without a line here, unless another value for one must
be found by hand (`OTHERS`), or it shows only beside other settings (`BESIDE`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import pytest
import torch

import blueprint as bp
from blueprint.component import Section
from blueprint.inference.prompt import room
from blueprint.model.inputs import sample_inputs, told_of
from blueprint.plan import Plan
from blueprint.registry import kinds, member, names
from blueprint.schema.shape import Shape, fields
from blueprint.testing import tiny
from blueprint.testing.checks import CHECKS, MODEL
from blueprint.testing.tiny import TINY, place
from tests.shipped import shipped

LENGTH = 24
WIDE = {"feed_forward": {"d_ff": 40}}

#: Where a kind or a key shows: frequencies are many only in a wide head.
AROUND: dict[str, dict[str, Any]] = {
    "rope_scaling": {"model.block.attention.head_dim": 64},
    "router": {"model.block.feed_forward.experts": 8},
    "shaw.ahead": {"model.causal": False},
}
#: Keys that show elsewhere than where a component stands first: the path there, in a model of that type.
ELSEWHERE = {
    "sequential.cross_attention": ("encoder_decoder", "model.decoder.block"),
    "sequential.cross_attention_norm": ("encoder_decoder", "model.decoder.block"),
}

COOLING = {"scale": 0.5, "floor": 4}
LATENT = {"heads": 4, "kv_rank": 12, "nope_dim": 6, "rope_dim": 4, "value_dim": 10}
YARN = {"factor": 4.0, "original_length": 64, "beta_fast": 4.0}

CAPACITY = ("factor", "over", "keep", "overflow", "spared", "at_inference")

#: Settings beside which a key shows, by `component.key`, or beside which all keys of a component do.
BESIDE: dict[str, dict[str, Any]] = {
    "decoder.blocks": {"pattern": ["wide", "block"], "blocks": {"wide": {"feed_forward": {"d_ff": 24}}}},
    "decoder.pattern": {"pattern": ["wide", "block"], "blocks": {"wide": WIDE}},
    "multi_head.backend": {"heads": 4, "mask": {"type": "sliding", "window": 4}},
    "latent.backend": {**LATENT, "mask": {"type": "sliding", "window": 4}},
    "multi_head.qk_norm.when": {"heads": 4, "qk_norm": {"when": "before"}},
    "multi_head.qk_norm.over": {"heads": 4, "qk_norm": {"over": "head"}},
    "multi_head.qk_norm.norm": {"heads": 4, "qk_norm": {"norm": "rms"}},
    "multi_head.temperature.scale": {"heads": 4, "temperature": COOLING},
    "multi_head.temperature.floor": {"heads": 4, "temperature": COOLING},
    "multi_head.temperature.offset": {"heads": 4, "temperature": COOLING},
    "multi_head.gate.bias": {"heads": 4, "gate": {}},
    "cosine.projected": {"width": 32},
    "cosine.scale_at_most": {"width": 16, "scale": 0.0, "scale_at_most": 1.0},
    "disentangled": {"buckets": 8, "max_distance": 10},
    "shaw": {"back": 4},
    "classification.dense_bias": {"labels": 3, "activation": "tanh"},
    "token_classification.dense_bias": {"labels": 3, "activation": "tanh"},
    "masked_language_model.width": {"tie": False},
    "tokens.project": {"width": 12, "token_types": 2, "norm": "layer"},
    "tokens.projection_bias": {"width": 12},
    "attention.norm": {"heads": 4, "feed_forward": "mlp"},
    **{f"latent.temperature.{key}": {**LATENT, "temperature": COOLING} for key in ("scale", "floor", "offset")},
    "yarn": YARN,
    "yarn.mscale": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.5},
    "yarn.mscale_all_dim": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.5},
    "experts.shared_gate": {"experts": 4, "shared": "mlp"},
    "top_k.groups.count": {"k": 2, "groups": {"count": 4, "keep": 1}},
    "top_k.groups.keep": {"k": 4, "groups": {"count": 4, "keep": 2}},
    "top_k.groups.by": {"k": 3, "groups": {"count": 4, "keep": 2}},
    "longrope": {"short_factor": [1.0] * 32, "long_factor": [4.0] * 32, "original_length": 16},
    **{f"experts.capacity.{key}": {"experts": 4, "capacity": {"factor": 1.0}} for key in CAPACITY},
    "experts.capacity.per": {
        "experts": 8,
        "router": {"type": "top_k", "k": 3, "groups": {"count": 4, "keep": 2}},
        "capacity": {"factor": 0.5},
    },
    "experts.capacity.tokens": {"experts": 4, "capacity": {"tokens": 3}},
}

#: Other values, where the walk cannot find one by itself.
OTHERS: dict[str, list[Any]] = {
    "decoder.blocks": [{"wide": WIDE}],
    "decoder.block": [{"type": "parallel", "attention": {"heads": 4}}],
    "decoder.pattern": [["block", "wide"]],
    "decoder.overrides": [{"1": WIDE}, {"-1": {"attention": {"bias": True}}}],
    "decoder.share": [[0, 0]],
    "decoder.max_length": [20],
    "encoder_decoder.encoder.block": [{"type": "parallel", "attention": {"heads": 4}}],
    "sequential.cross_attention": [
        {"type": "multi_head", "heads": 4, "bias": True},
        {"type": "multi_head", "heads": 2},
    ],
    "language_model.bias": [True, "fixed"],
    "cosine.scale_at_most": [1.01, None],
    "latent.backend": ["sdpa", "dense", "blocked"],
    "latent.position": [{"type": "rope"}, "alibi", "t5_bias", "none"],
    "multi_head.heads": [2, 8],
    "multi_head.kv_heads": [1, 2],
    "multi_head.bias": [True, ["q"], ["k", "v"], ["o"]],
    "multi_head.qk_norm": [{}, {"over": "full"}],
    "multi_head.backend": ["sdpa", "dense", "blocked"],
    "multi_head.gate": [{}],
    "multi_head.gate.bias": [True],
    "multi_head.temperature": [COOLING],
    "latent.temperature": [COOLING],
    "latent.temperature.offset": [3],
    "multi_head.temperature.offset": [3],
    "disentangled.terms": [["c2p"], ["p2c"]],
    "disentangled.buckets": [6, None],
    "disentangled.max_distance": [12],
    "dual_encoder.text.embedding": [{"type": "tokens", "scale": 2}],
    "dual_encoder.image.embedding": [{"image_size": 12, "patch_size": 6}],
    "dual_encoder.image.pool": ["last", "mean", "first_and_mean", {"type": "attention", "heads": 4}],
    "longrope.short_factor": [[2.0] * 32],
    "longrope.long_factor": [[2.0] * 32],
    "rope.theta": [100.0],
    "xielu.alpha_n": [1.6],
    "rope.fraction": [0.25],
    "rope.width": [4],
    "experts.expert": ["mlp", {"type": "gated", "d_ff": 12}],
    "experts.capacity": [{"factor": 0.5}, {"tokens": 3}],
    "experts.capacity.spared": [0.9],
    "top_k.groups": [{"count": 4, "keep": 1}],
    "top_k.groups.count": [2],
    "top_k.groups.keep": [3],
}

# The layers of an encoder, of either side of an encoder-decoder and of both, and of the towers of a dual encoder, are
# spoken of as a decoder's are.
STACKS = ("encoder.", "encoder_decoder.", "dual_encoder.")
SIDES = {"encoder_decoder.": ("", "encoder.", "decoder."), "dual_encoder.": ("text.", "image.")}
SPOKEN_ALIKE: set[str] = set()
for _table in (BESIDE, OTHERS):
    for _knob, _said in [each for each in _table.items() if each[0].startswith("decoder.")]:
        _key = _knob.removeprefix("decoder.")
        for _model in STACKS:
            for _side in SIDES.get(_model, ("",)):
                _there = {f"{_side}{key}": value for key, value in _said.items()} if isinstance(_said, dict) else _said
                _table.setdefault(f"{_model}{_side}{_key}", _there)
                SPOKEN_ALIKE.add(f"{_model}{_side}{_key}")
for _side in SIDES["encoder_decoder."]:
    OTHERS[f"encoder_decoder.{_side}embedding"] = [{"type": "tokens", "norm": "layer"}]
# A parallel block reads no memory.
for _side in ("", "decoder."):
    OTHERS[f"encoder_decoder.{_side}block"] = [
        {"type": "sequential", "placement": "sandwich", "attention": {"heads": 4}}
    ]

#: Keys that change how the model is computed, not what it is: these, and only these, leave the hash as it is.
HOW = {"multi_head.backend", "latent.backend"}


PARTS = [(kind, name) for kind in kinds() if set(MODEL) <= set(CHECKS.get(kind, MODEL)) for name in shipped(kind)]


def keys(cls: type[Section], path: str = "") -> Iterator[tuple[str, Shape]]:
    """Every key of a component, those of its sections included; what stands in its slots has a turn of its own."""
    for key, shape in fields(cls).items():
        # A section that must be there is what its keys are.
        if shape.form != "section" or shape.optional or shape.default is not None:
            yield f"{path}{key}", shape
        if shape.form == "section":
            assert shape.cls is not None
            yield from keys(shape.cls, f"{path}{key}.")


KNOBS = [(kind, name, key) for kind, name in PARTS for key, _ in keys(member(kind, name))]


def test_what_is_said_of_keys_is_said_of_keys_there_are() -> None:
    knobs = {f"{name}.{key}" for _, name, key in KNOBS}
    parts = {*kinds(), *(name for _, name in PARTS)}
    for table in (AROUND, ELSEWHERE, BESIDE, OTHERS, HOW):
        for said in table:
            assert said in knobs | parts or said in SPOKEN_ALIKE, f"{said} is no key"


def others(knob: str, shape: Shape, now: Any) -> list[Any]:
    """Other values of a key than the one it has now."""
    if knob in OTHERS:
        return OTHERS[knob]
    if shape.form == "slot":
        said = now.get("type") if isinstance(now, Mapping) else now
        found: list[Any] = [each for each in shipped(shape.kind) if each != said]
        # Each with what it needs; a member that needs nothing stands there by its name.
        found = [{"type": each, **member(shape.kind, each).examples()[0]} for each in found]
        return [*found, None] if shape.optional and now is not None else found
    if isinstance(now, bool):
        return [not now]
    words = [
        word for literal in _parts(shape.annotation) if get_origin(literal) is Literal for word in get_args(literal)
    ]
    if words:
        return [word for word in words if word != now]
    types = {part for part in _parts(shape.annotation) if isinstance(part, type)}
    if isinstance(now, int) and (float not in types or now > 1):
        return [now * 2 or 1]
    if isinstance(now, int | float):
        return [now + 0.25 if now < 0.5 else now / 2]
    return [12 if int in types and float not in types else 0.4]


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)


def at(value: Any, path: str) -> Any:
    """What stands under a path of keys in a plan's plain values or a spec's; None where nothing does."""
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def put(said: dict[str, Any], path: str, value: Any) -> None:
    *steps, last = path.split(".")
    for step in steps:
        inner = said.get(step)
        said[step] = inner = dict(inner) if isinstance(inner, Mapping) else {} if inner is None else {"type": inner}
        said = inner
    said[last] = value


def model_of(said: dict[str, Any]) -> tuple[Plan, dict[str, Any]]:
    """The plan of a spec, and all that can be seen of its model."""
    spec = bp.load(said)
    plan, model = bp.plan(spec), bp.build(spec)
    seen: dict[str, Any] = {f"initial {name}": tensor.clone() for name, tensor in model.state_dict().items()}
    seen["modules"] = [(name, type(module).__name__) for name, module in model.named_modules()]
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    ids = torch.randint(TINY["vocab_size"] // 2, (2, LENGTH), generator=torch.Generator().manual_seed(1))
    documents = torch.arange(LENGTH).div(LENGTH // 3, rounding_mode="floor").expand(2, -1)
    given = sample_inputs(plan, 2, LENGTH, generator=torch.Generator().manual_seed(1))
    if "input_ids" in given:
        given["input_ids"] = ids
    with torch.no_grad():
        told = told_of(plan.model)
        seen["output"] = model.eval()(**given).logits
        if told is not None:
            seen["output of few"] = model(**{**given, told: ids[:, : LENGTH // 3]}).logits
        if "segment_ids" in plan.model.alongside.get(told or "", ()):
            seen["output of documents"] = model(**given, segment_ids=documents).logits
        torch.manual_seed(0)
        seen["output in training"] = model.train()(**given).logits
    seen |= model(**given).terms
    with torch.no_grad():
        for name, module in model.named_modules():
            if hasattr(module, "settle"):
                seen[f"measured by {name}"] = module.settle(torch.clone)
        seen |= {f"settled {name}": buffer.clone() for name, buffer in model.named_buffers()}
    seen["longest"] = [fits(model, length, side) for side in plan.stacks for length in (20, 32, 48)]
    return plan, seen


def fits(model: torch.nn.Module, length: int, side: str) -> bool:
    """Whether a stack goes up to `length` tokens without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            room(model, length, side)
        except (UserWarning, ValueError):
            return False
    return True


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What is seen of one model and not of the other; values that differ by rounding are the same."""

    def same(x: Any, y: Any) -> bool:
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
            return x.shape == y.shape and torch.allclose(x, y, rtol=1e-5, atol=1e-5)
        if isinstance(x, dict) and isinstance(y, dict):
            return x.keys() == y.keys() and all(same(x[name], y[name]) for name in x)
        return bool(x == y)

    return [name for name in {**a, **b} if name not in a or name not in b or not same(a[name], b[name])]


def backends(plan: Plan) -> list[Any]:
    return [part.choice(site, 128, "cpu") for _, part, site in plan.parts() if part.kind == "attention"]


def base(kind: str, name: str, knob: str) -> tuple[dict[str, Any], str]:
    """A spec in which a key shows, and the path of its component."""
    model, path = ELSEWHERE.get(knob, ("", ".".join(place(kind))))
    beside = BESIDE.get(knob, BESIDE.get(name, {}))
    said = tiny(kind, name, None if kind == "model" or not beside else beside)
    around = AROUND.get(knob, AROUND.get(kind, {}))
    if kind == "model":
        around = {f"{path}.{key}": value for key, value in beside.items()}
    for where, value in around.items():
        put(said, where, value)
    if model:
        said["model"]["type"] = model
    return said, path


def standing(spec: Mapping[str, Any], path: str) -> Any:
    """What is said at a path; where a side says nothing, what both say."""
    found = at(spec, path)
    model, _, inner = path.partition(".")
    side, _, common = inner.partition(".")
    return at(spec, f"{model}.{common}") if found is None and common and side in ("encoder", "decoder") else found


@pytest.mark.parametrize(("kind", "name", "key"), KNOBS, ids=lambda word: word)
def test_every_key_of_a_model_changes_it(kind: str, name: str, key: str) -> None:
    knob = f"{name}.{key}"
    shape = dict(keys(member(kind, name)))[key]
    said, path = base(kind, name, knob)
    plan, seen = model_of(said)
    now = standing(bp.load(said).to_plain(), f"{path}.{key}")
    tried = [value for value in others(knob, shape, now) if value != now]
    # What a slot with one member can say, the member's own keys say.
    assert tried or len(names(shape.kind)) == 1, f"no other value is known for {knob} (now {now!r})"
    for value in tried:
        changed = bp.load(said).to_plain(defaults=False)
        for beside, fixed in (member(shape.kind, value["type"]).beside if _member(value, shape) else {}).items():
            put(changed, beside, fixed)
        put(changed, f"{path}.{key}", value)
        other, found = model_of(changed)
        what = differing(seen, found)
        if knob in HOW:
            assert not what, f"{knob}: {value!r} changes {what}"
            assert backends(other) != backends(plan)
            assert other.hash == plan.hash
        else:
            assert what, f"{knob} is dead: {now!r} and {value!r} give the same model"
            assert other.hash != plan.hash, f"{knob}: {value!r} changes {what} and not the hash"


def _member(value: Any, shape: Shape) -> bool:
    return shape.form == "slot" and isinstance(value, Mapping) and "type" in value
