"""A parameter as optimizers are told of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Weight:
    """A parameter that learns: its name in the model, and what it is there for.

    `role` is what initialisation knows it by (`linear`, `residual`, `embedding`, `head`; "" for any other). A `stacked`
    one holds copies along its first axis, as experts do. `lr` and `weight_decay` are what the spec says of it alone, in
    place of what the optimizer says of all (None: nothing).
    """

    name: str
    parameter: nn.Parameter
    role: str = ""
    stacked: bool = False
    lr: float | None = None
    weight_decay: float | None = None

    @property
    def axes(self) -> int:
        """The number of axes of one copy."""
        return self.parameter.ndim - self.stacked

    @property
    def decays(self) -> bool:
        """Whether weight decay acts on it: on projections and tables, never on vectors (norm weights, biases)."""
        return self.axes >= 2

    @property
    def hidden(self) -> bool:
        """Whether it is a matrix between hidden vectors, or a stack of such: no table, head, norm or bias."""
        return self.axes == 2 and self.role in ("linear", "residual")


def parameter_groups(weights: Iterable[Weight], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """torch's parameter groups: weights that learn at one rate, decay alike and are stacked alike stand together.

    A group says `params`, `lr`, `weight_decay` and whether they are `stacked`; those that have the optimizer's own rate
    come first.
    """
    found: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for each in sorted(weights, key=lambda each: each.lr is not None):
        decay = weight_decay if each.weight_decay is None else each.weight_decay
        key = (lr if each.lr is None else each.lr, decay if each.decays else 0.0, each.stacked)
        found.setdefault(key, []).append(each.parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay, "stacked": stacked}
        for (rate, decay, stacked), parameters in found.items()
    ]
