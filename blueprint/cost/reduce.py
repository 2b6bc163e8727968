"""A few layers stand for all: what is measured on them, added up for the whole depth.

Cost is a sum over parts, so it is linear in how often each distinct layer occurs: a model with one of each, and for
each a model with one more of it, tell what the full depth costs without ever running it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from blueprint.plan import Plan
from blueprint.schema.spec import Spec

Figures = dict[str, int]
Measure = Callable[[Plan], Figures]
Layer = tuple[str, int]
"""A side and the index of a layer in its stack."""


def alike(spec: Spec) -> bool:
    """Whether a few layers stand for all in a step of training: not where it is said by their numbers which are frozen,
    or computed again."""
    return not spec.freeze and (spec.recompute is None or spec.recompute.every == 1)


def measured(
    plan: Plan, measure: Measure, whole: bool = False, slope: Measure | None = None, least: int = 1
) -> Figures:
    """What `measure` would give for the whole plan, from as few layers as tell it, or from the `whole` plan.

    `slope` may stand in for it where only the difference that a layer makes is asked, if it is quicker. Each further
    layer makes the same difference once there are `least` of its kind.
    """
    slope = slope or measure
    kinds = _kinds(plan)
    repeated = [layers for layers in kinds if len(layers) > least]
    first = [layer for layers in kinds for layer in layers[:least]]
    # With many kinds of layers the whole model is the shorter way, and needs no arithmetic.
    if whole or len(first) + len(repeated) * (len(first) + 1) >= sum(map(len, kinds)):
        return measure(plan)
    start = measure(_only(plan, first))
    base = start if slope is measure else slope(_only(plan, first))
    total = dict(start)
    for layers in repeated:
        for name, value in slope(_only(plan, [*first, layers[least]])).items():
            total[name] += (len(layers) - least) * (value - base[name])
    return total


def _kinds(plan: Plan) -> list[list[Layer]]:
    """The layers of every stack, those with equal blocks together."""
    kinds: list[tuple[str, object, list[Layer]]] = []
    for side, stack in plan.stacks.items():
        for index, layer in enumerate(stack):
            found = next((layers for of, block, layers in kinds if of == side and block == layer.block), None)
            if found is None:
                kinds.append((side, layer.block, found := []))
            found.append((side, index))
    return [layers for _, _, layers in kinds]


def _only(plan: Plan, kept: list[Layer]) -> Plan:
    """The plan with these layers alone, each at its own site; weights are shared with a layer that is there too."""
    stacks = {}
    for side, stack in plan.stacks.items():
        indices = sorted(index for of, index in kept if of == side)
        layers = [stack[index] for index in indices]
        stacks[side] = tuple(
            layer if layer.weights_of in indices else replace(layer, weights_of=layer.site.layer) for layer in layers
        )
    return replace(plan, stacks=stacks)
