"""The parameters of a model that learn, as optimizers are told of them, and those that do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torch import nn

from blueprint.diagnosis import SpecError
from blueprint.kinds import WeightGroup
from blueprint.model.choose import unnamed, within
from blueprint.ops import GroupedLinear, Weight
from blueprint.plan import placed
from blueprint.rules import Fault
from blueprint.schema.spec import Spec


def weights_of(model: nn.Module) -> list[Weight]:
    """Every parameter that needs a gradient, once, with its role; one that is used twice has its first name's."""
    found: dict[int, Weight] = {}
    for path, module in model.named_modules():
        stacked = getattr(module, "copies", None) is not None
        for own, parameter in module.named_parameters(path, recurse=False):
            if parameter.requires_grad and id(parameter) not in found:
                role = _role(module) if own.rpartition(".")[2] == "weight" else ""
                found[id(parameter)] = Weight(own, parameter, role, stacked)
    return list(found.values())


def trained(model: nn.Module, spec: Spec) -> list[Weight]:
    """The weights of a spec's model that learn, with what `optimizer.groups` says of them.

    The first group that names a weight has it. Raises `SpecError` for a group that changes nothing.
    """
    weights, names = weights_of(model), _names(model)
    found: list[Fault] = []
    left = {id(each.parameter): each for each in weights}
    told: dict[int, Weight] = {}
    for index, group in enumerate(spec.optimizer.groups):
        at = f"optimizer.groups.{index}"
        own = [key for key in left if any(within(name, part) for name in names[key] for part in group.parts)]
        grouped = [replace(left.pop(key), lr=group.lr, weight_decay=group.weight_decay) for key in own]
        told |= {id(each.parameter): each for each in grouped}
        found += _wrong(group, grouped, at, [name for each in names.values() for name in each])
    if found:
        raise SpecError(placed(spec, fault) for fault in found)
    return [told.get(id(each.parameter), each) for each in weights]


def freeze(model: nn.Module, spec: Spec) -> None:
    """Keep the parts that the spec says from learning: they have no gradient, and no optimizer is told of them.

    Raises `SpecError` for a part that is not there, and where nothing is left that learns.
    """
    names = _names(model)
    for parameter in model.parameters():
        if any(within(name, part) for name in names[id(parameter)] for part in spec.freeze):
            parameter.requires_grad_(False)
    every = [name for each in names.values() for name in each]
    faults = [unnamed(every, part, f"freeze.{index}") for index, part in enumerate(spec.freeze)]
    found = [fault for fault in faults if fault is not None]
    if not found and not any(parameter.requires_grad for parameter in model.parameters()):
        found = [Fault("everything is frozen: nothing is left that learns", "freeze", "freeze less")]
    if found:
        raise SpecError(placed(spec, fault) for fault in found)


def _wrong(group: WeightGroup, weights: list[Weight], at: str, names: list[str]) -> Iterable[Fault]:
    """What of a group that got these weights does nothing."""
    faults = [unnamed(names, part, f"{at}.parts.{index}") for index, part in enumerate(group.parts)]
    found = [fault for fault in faults if fault is not None]
    if not found and not weights:
        found = [Fault("nothing is left for this group: what it names is frozen, or in a group before it", at)]
    elif weights and group.weight_decay is not None and not any(each.decays for each in weights):
        message = "`weight_decay` does nothing here: the group holds vectors alone, which do not decay"
        found.append(Fault(message, f"{at}.weight_decay", "leave it out"))
    return found


def _names(model: nn.Module) -> dict[int, list[str]]:
    """All names of every parameter: one that is used twice has several."""
    found: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found.setdefault(id(parameter), []).append(name)
    return found


def _role(module: nn.Module) -> str:
    """What a module's weight is there for."""
    said = getattr(module, "role", None)
    if isinstance(said, str):
        return said
    if isinstance(module, nn.Embedding):
        return "embedding"
    return "linear" if isinstance(module, nn.Linear | GroupedLinear) else ""
