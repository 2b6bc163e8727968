"""What optimizers of our own are made of, and several as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blueprint.ops.spread import is_spread, whole


class Stepping(torch.optim.Optimizer):
    """An optimizer that says how one weight moves (`move`); its state comes back from a checkpoint as it was."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step; `closure`, where there is one, computes the gradients and gives the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.move_all()
        return loss

    def move_all(self) -> None:
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self.move(weight, weight.grad, self.state[weight], group)

    def move(self, weight: Tensor, gradient: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> None:
        """Move a weight in place; `state` is its own, empty before its first step, and `group` says rates and more."""
        raise TypeError(f"{type(self).__name__} does not say how a weight moves")

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state; torch would lower float32 to the weights' precision."""
        super().load_state_dict(dict(state_dict))
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for number, weight in zip(numbers, weights, strict=True):
            for name, value in state_dict["state"].get(number, {}).items():
                own = self.state[weight][name]
                if isinstance(own, Tensor) and own.dtype != value.dtype:
                    self.state[weight][name] = value.to(own.device, copy=True)


def running(state: dict[str, Any], name: str, like: Tensor) -> Tensor:
    """A tensor that a state keeps, zeros at first, spread over processes as `like` is."""
    if name not in state:
        state[name] = torch.zeros_like(like)
    if is_spread(state[name]) and not is_spread(like):
        state[name] = whole(state[name])  # as it came from a checkpoint
    kept: Tensor = state[name]
    return kept


class Together(Stepping):
    """Optimizers of different weights that step as one: their groups in order, their states in one place."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let every part work on what this optimizer holds, by its own rules for what was loaded."""
        start = 0
        for part in self.parts:
            end = start + len(part.param_groups)
            part.__setstate__({"state": self.state, "param_groups": self.param_groups[start:end]})
            start = end

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what was loaded, and hand it on."""
        super().__setstate__(state)
        self._share()

    def move_all(self) -> None:
        """Let every part take its step."""
        for part in self.parts:
            part.step()


def its_own_way(optimizer: torch.optim.Optimizer, told: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's saved state, to be gone on with as this process computes, whatever the one that saved it did."""
    groups = zip(told["param_groups"], optimizer.param_groups, strict=True)
    ways = ("fused", "foreach")
    return {**told, "param_groups": [{**said, **{way: own[way] for way in ways if way in own}} for said, own in groups]}
