"""The parameters of a model that learn, as optimizers are told of them."""

from __future__ import annotations

from torch import nn

from blueprint.ops import GroupedLinear, Weight


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


def _role(module: nn.Module) -> str:
    """What a module's weight is there for."""
    said = getattr(module, "role", None)
    if isinstance(said, str):
        return said
    if isinstance(module, nn.Embedding):
        return "embedding"
    return "linear" if isinstance(module, nn.Linear | GroupedLinear) else ""
