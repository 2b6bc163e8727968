"""How a module's work may be divided: which of its parameters can be cut, and along what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shards:
    """What a module's method `shards() -> Shards | None` declares, None where it must stay whole.

    A module runs as well with equal pieces of the parameters in `axes` in their places, whatever else it has being
    whole: what n such modules return, each with its own pieces, adds up to what the whole one returns. So nothing in
    its forward may count on the sizes it was made with. That is Megatron's division of a layer (Shoeybi et al., 2019,
    §3) without its communication, which whoever runs the pieces sees to.
    """

    axes: Mapping[str, int]
    """Names of parameters in the module, and the dimension along which each is cut."""
    pieces: int
    """What the number of pieces must divide: heads of keys and values, hidden units."""
    once: tuple[str, ...] = ()
    """Parameters that every piece would add to the result though it wants them once: each adds its share of them."""

    def piece(self, name: str, whole: Tensor, number: int, of: int) -> Tensor:
        """What piece `number` of `of` has in the place of the parameter `name`."""
        if name in self.once:
            return whole / of
        return whole.chunk(of, self.axes[name])[number] if name in self.axes else whole


def cut(gives: Mapping[str, nn.Linear], takes: Mapping[str, nn.Linear], pieces: int) -> Shards:
    """The pieces of linear maps by their names: some cut by what they give, the others by what they take, whose biases
    are wanted once."""
    axes = {f"{name}.weight": 0 for name in gives} | {f"{name}.weight": 1 for name in takes}
    axes |= {f"{name}.bias": 0 for name, each in gives.items() if each.bias is not None}
    return Shards(axes, pieces, tuple(f"{name}.bias" for name, each in takes.items() if each.bias is not None))


def shards_of(module: nn.Module) -> Shards | None:
    """What a module declares, None for one that declares nothing, or that is many under one name."""
    declare = None if hasattr(module, "stacked") else getattr(module, "shards", None)
    return None if declare is None else declare()
