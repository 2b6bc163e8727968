"""Initial weights, seeded by each parameter's name: the order of building and the number of processes do not matter."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from blueprint.ops import GroupedLinear

_FILLED = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, GroupedLinear)


def name_seed(seed: int, name: str) -> int:
    """A 63-bit seed for the parameter called `name` of a model seeded with `seed`."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1


@torch.no_grad()
def initialise(model: nn.Module, init: Any, seed: int, depths: Mapping[str, int]) -> None:
    """Fill every weight matrix and table by `init`, zero their biases.

    `depths` is the number of layers of every stack by the path of its modules, and under "" what holds elsewhere.

    A module with parameters of its own and a `reset_parameters` is asked to set them, under a seed from its name; any
    other parameter keeps the value its constructor gave it.
    """
    for path, module in model.named_modules():
        if isinstance(module, _FILLED):
            _fill(path, module, init, seed, _depth(path, depths))
        elif next(module.parameters(recurse=False), None) is not None and hasattr(module, "reset_parameters"):
            _reset(path, module, seed)


def _depth(path: str, depths: Mapping[str, int]) -> int:
    """How many layers the stack has that the module at `path` is in, or the model where it is in none."""
    return next((depth for stack, depth in depths.items() if stack and path.startswith(f"{stack}.")), depths[""])


def _reset(path: str, module: Any, seed: int) -> None:
    """Let a module set its own parameters, copy by copy where they are stacked."""
    stacked = {name: value for name, value in module.named_parameters(recurse=False) if hasattr(module, "copies")}
    with torch.random.fork_rng():
        for copy in range(getattr(module, "copies", 1)):
            torch.manual_seed(name_seed(seed, f"{path}.{copy}" if stacked else path))
            for name, value in stacked.items():
                module._parameters[name] = nn.Parameter(value[copy], value.requires_grad)
            module.reset_parameters()
    module._parameters.update(stacked)


def _fill(path: str, module: Any, init: Any, seed: int, layers: int) -> None:
    """Fill a matrix or table, or each of those that are stacked by itself."""
    weight, bias = module.weight, getattr(module, "bias", None)
    role = getattr(module, "role", "embedding" if isinstance(module, nn.Embedding) else "linear")
    copies = getattr(module, "copies", None)
    each: list[tuple[str, Tensor]] = [(f"{path}.weight", weight)]
    if copies is not None:
        each = [(f"{path}.{copy}.weight", weight[copy]) for copy in range(copies)]
    for name, one in each:
        generator = torch.Generator(one.device).manual_seed(name_seed(seed, name))
        # (out, in, …): a convolution's window counts on both sides.
        window = math.prod(one.shape[2:])
        init.fill(role, one, one.shape[1] * window, one.shape[0] * window, generator, layers)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            one[module.padding_idx].zero_()
    if bias is not None:
        bias.zero_()
