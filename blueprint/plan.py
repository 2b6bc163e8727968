"""The spec with nothing left to say: every layer written out, every default filled, every part at its site."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from blueprint.arithmetic import ArithmeticFault
from blueprint.component import Component, Fault, Means, Section, Site
from blueprint.diagnosis import Problem, SpecError
from blueprint.kinds import Block
from blueprint.schema.faults import part_faults
from blueprint.schema.model import Model
from blueprint.schema.spec import Spec
from blueprint.tree import Scalar, find

#: Widths of a miniature; small enough to run anything in a moment, large enough for every pattern to show.
_SMALL = {"d_model": 32, "vocab_size": 96, "max_length": 64}


@dataclass(frozen=True)
class PlanLayer:
    """A layer with its filled block; `weights_of` is the layer whose weights it uses (its own index, mostly)."""

    variant: str
    block: Block
    site: Site
    weights_of: int

    def to_plain(self, **only: bool) -> dict[str, Any]:
        """What the layer is, as plain values (`described`); the variant's name is no part of it."""
        return self.sharing(described(self.block, **only))

    def sharing(self, said: dict[str, Any]) -> dict[str, Any]:
        """What is said of the block, with the layer whose weights it uses where that is another."""
        return said if self.weights_of == self.site.layer else {**said, "share": self.weights_of}


@dataclass(frozen=True)
class Plan:
    """A model written out: the filled model, its site, and the layers of each stack."""

    name: str
    model: Model
    site: Site
    stacks: dict[str, tuple[PlanLayer, ...]]

    @cached_property
    def hash(self) -> str:
        """The identity of the model: key order, comments, file splits, names and unsaid defaults do not change it,
        nor does by which means it is computed."""
        text = json.dumps(self.to_plain(means=False, defaults=False), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_plain(self, **only: bool) -> dict[str, Any]:
        """The whole plan as plain values, without what `described` is asked to leave out."""
        own = self.model.to_outside(described(self.model, **only))
        stacks = {side: _described(stack, **only) for side, stack in self.stacks.items()}
        return {**own, "stacks": stacks}

    def parts(self) -> Iterator[tuple[str, Component, Site]]:
        """Every component of the model, depth first, with its site; layers that share weights are all given."""
        for _, part, site in self.model.parts(self.site):
            yield from _walk(part, site)
        for stack in self.stacks.values():
            for layer in stack:
                yield from _walk(layer.block, layer.site)

    def groups(self) -> Iterator[tuple[str, list[int], PlanLayer]]:
        """Runs of equal layers as (side, indices, the first of them), in order of depth."""
        for side, stack in self.stacks.items():
            run: list[int] = []
            for index, layer in enumerate(stack):
                if run and layer.block == stack[run[-1]].block:
                    run.append(index)
                    continue
                if run:
                    yield side, run, stack[run[0]]
                run = [index]
            if run:
                yield side, run, stack[run[0]]

    def miniature(self) -> Plan:
        """The same structure at small widths, depths and counts: every distinct layer twice, every part once."""
        kept = {side: _kept(stack) for side, stack in self.stacks.items()}
        fewer = self.model.with_layers({side: len(indices) for side, indices in kept.items()})
        bounded = fewer.with_numbers(lambda key, said: None if said is None else min(said, _SMALL[key]))
        # Parts are shrunk where the small model has them; how many tokens there are may then follow from them.
        at = replace(bounded.site(), float32=self.site.float32)
        model = bounded.with_parts({name: part.miniature(site) for name, part, site in bounded.parts(at)})
        at = replace(model.site(), float32=self.site.float32)
        sites = model.sides(at)
        stacks = {side: _fewer(stack, kept[side], sites[side]) for side, stack in self.stacks.items()}
        return replace(self, model=model, site=at, stacks=stacks)

    def __str__(self) -> str:
        from blueprint.render import plan_text

        return plan_text(self)


def plan(spec: Spec) -> Plan:
    """Write a spec out; raises `SpecError` for what only shows at a part's place (widths, lengths)."""
    model = spec.model
    site = model.site()
    if site.vocab_size is None and model.reads_ids:
        site = replace(site, vocab_size=spec.vocab_size)
    site = replace(site, float32=kept_float32(spec))
    filled = model.with_parts({name: part.filled(at) for name, part, at in model.parts(site)})
    if model.reads_ids:
        filled = filled.with_vocabulary(site.vocab_size)
    sites = model.sides(site)
    seen: dict[str, Block] = {}
    # What a block of the text came to in the last layer that uses it: to compare takes less than to describe.
    last: dict[int, Block] = {}
    stacks: dict[str, tuple[PlanLayer, ...]] = {}
    for side, stack in model.stacks().items():
        layers = []
        for layer in stack.layer_list(sites[side]):
            try:
                block = layer.block.filled(layer.site)
            except ArithmeticFault as error:
                # Judged at the first layer that uses it, an expression of the layer may still fail in another.
                steps = ("model", sites[side].path, layer.variant)
                faults = part_faults(layer.block, layer.site, ".".join(filter(None, steps)))
                raise SpecError([placed(spec, fault) for fault in faults]) from error
            # Equal layers are one object, so that whoever walks the plan can do the work once.
            known = last.get(id(layer.block))
            block = known if known == block else seen.setdefault(repr(described(block)), block)
            last[id(layer.block)] = block
            layers.append(PlanLayer(layer.variant, block, layer.site, layer.weights_of))
        stacks[side] = tuple(layers)
    return Plan(spec.name, filled, site, stacks)


def kept_float32(spec: Spec) -> frozenset[str] | None:
    """The roles that stay in float32 under the spec's precision; None where nothing is 16 bits wide."""
    if spec.trainer.precision in ("32-true", "64-true"):
        return None
    from blueprint.schema.precision import PrecisionPolicy

    return (spec.precision or PrecisionPolicy()).kept


def described(part: Component, *, means: bool = True, defaults: bool = True, passing: bool = True) -> dict[str, Any]:
    """A filled component as plain values with the versions of components that have moved past their first.

    `means=False` leaves out the fields that are marked as `Means`, `passing=False` those that mean nothing to a model
    that has learned, `defaults=False` those at their defaults: a field that a component gains later then changes the
    identity of no model that does not say it.
    """

    def fields(section: Section) -> dict[str, Any]:
        out: dict[str, Any] = {}
        gone = frozenset() if passing else section.passing()
        for name, info in type(section).model_fields.items():
            value = getattr(section, name)
            if name in gone or (not means and any(isinstance(mark, Means) for mark in info.metadata)):
                continue
            if defaults or value != section.default(name):
                out[info.alias or name] = plain(value)
        return out

    def plain(value: Any) -> Any:
        if isinstance(value, Component):
            version = {"version": value.version} if value.version > 1 else {}
            return {"type": value.spec_name, **version, **fields(value)}
        if isinstance(value, Section):
            return fields(value)
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        # 1 and 1.0 are the same number, and must hash alike.
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    out: dict[str, Any] = plain(part)
    return out


def placed(spec: Spec, fault: Fault) -> Problem:
    """A fault as a problem at its place in the text, where the spec has one."""
    path = tuple((fault.at or "model").split("."))
    if spec.root is None:
        return Problem("rule", fault.message, path, suggestion=fault.suggestion, fix=fault.fix)
    node, entry, _ = find(spec.root, path)
    span = node.span if isinstance(node, Scalar) or entry is None else entry.span
    return Problem("rule", fault.message, path, span, fault.suggestion, fault.fix)


def _walk(part: Component, site: Site) -> Iterator[tuple[str, Component, Site]]:
    yield site.path, part, site
    for _, inner, at in part.parts(site):
        yield from _walk(inner, at)


def _described(stack: tuple[PlanLayer, ...], **only: bool) -> list[dict[str, Any]]:
    """The layers of a stack as plain values, those that are equal described once."""
    said = {id(layer.block): layer.block for layer in stack}
    plain = {key: described(block, **only) for key, block in said.items()}
    return [layer.sharing(plain[id(layer.block)]) for layer in stack]


def _kept(stack: tuple[PlanLayer, ...]) -> list[int]:
    """The first two of every distinct layer, and the layers whose weights they use."""
    wanted: set[int] = set()
    counts: dict[int, int] = {}
    for index, layer in enumerate(stack):
        which = id(layer.block)
        counts[which] = counts.get(which, 0) + 1
        if counts[which] <= 2:
            wanted |= {layer.weights_of, index}
    return sorted(wanted)


def _fewer(stack: tuple[PlanLayer, ...], kept: list[int], site: Site) -> tuple[PlanLayer, ...]:
    """These layers of a stack made small, renumbered; `site` is the small stack's."""
    out = []
    for new, index in enumerate(kept):
        layer = stack[index]
        at = replace(site.child(f"layers.{new}"), layer=new, layers=len(kept))
        out.append(PlanLayer(layer.variant, layer.block.miniature(at), at, kept.index(layer.weights_of)))
    return tuple(out)
