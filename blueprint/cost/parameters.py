"""Parameters, counted on a model built on the meta device."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

from torch import nn

from blueprint.cost.report import Layers
from blueprint.plan import Plan


def total(model: nn.Module) -> int:
    """Every parameter once, however many modules use it."""
    return sum(parameter.numel() for parameter in model.parameters())


def active(model: nn.Module) -> int:
    """Those a token passes through; a module says of its own parameters which `active_share` works on a token."""
    found: dict[int, Fraction] = {}
    for module in model.modules():
        share = Fraction(getattr(module, "active_share", 1)).limit_denominator(1 << 20)
        for parameter in module.parameters(recurse=False):
            found[id(parameter)] = max(found.get(id(parameter), Fraction(0)), share * parameter.numel())
    return round(sum(found.values(), Fraction(0)))


def by_part(model: nn.Module, without: frozenset[int] = frozenset()) -> dict[str, int]:
    """Parameters by kind of part; a part inside another counts as that one's, as the norms in an attention do.

    Those whose `id` is in `without` are left out.
    """
    kinds = {name: part[0] for name, part in _parts(model).items() if part[0] != "block"}
    found: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        if id(parameter) in without:
            continue
        steps = name.split(".")
        owners = (".".join(steps[:n]) for n in range(1, len(steps)))
        found[next((kinds[owner] for owner in owners if owner in kinds), "other")] += parameter.numel()
    return {kind: number for kind, number in found.items() if number}


def by_layer(model: nn.Module, plan: Plan) -> tuple[Layers, ...]:
    """The runs of equal layers with the parameters of one of them, those apart that it shares with other layers."""
    modules = {part[2]: model.get_submodule(name) for name, part in _parts(model).items() if part[0] == "block"}
    users = Counter(
        id(each) for module in {id(m): m for m in modules.values()}.values() for each in module.parameters()
    )
    several = frozenset(key for key, count in users.items() if count > 1)
    out = []
    for side, indices, layer in plan.groups():
        stack = plan.stacks[side]
        module = modules[stack[layer.weights_of].site.path]
        own = sum(stack[index].weights_of == index for index in indices)
        shared = sum(each.numel() for each in module.parameters() if id(each) in several)
        parts = by_part(module, several)
        found = (total(module) - shared, parts, own, shared, active(module) - shared)
        out.append(Layers(side, tuple(indices), layer.variant, *found))
    return tuple(out)


def _parts(model: nn.Module) -> dict[str, Any]:
    """What was built from components, by module name: (kind, name, path of the site)."""
    return {
        name: module.blueprint_part
        for name, module in model.named_modules(remove_duplicate=False)
        if name and hasattr(module, "blueprint_part")
    }
