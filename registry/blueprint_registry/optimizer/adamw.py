"""Adam with decoupled weight decay."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat

from blueprint.component import Site, register
from blueprint.kinds import Optimizer

if TYPE_CHECKING:
    import torch

Beta = Annotated[float, Field(ge=0, lt=1)]


@register("adamw")
class Adamw(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019, alg. 2); defaults as GPT-3 (2020, app. B)."""

    lr: PositiveFloat = 3e-4
    """Peak learning rate; the schedule multiplies it."""

    betas: list[Beta] = Field(default=[0.9, 0.95], min_length=2, max_length=2)
    """Decay rates of the running means of the gradient and of its square."""

    eps: PositiveFloat = 1e-8
    """Added to the root of the second mean."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Share, times the learning rate, by which weights shrink a step. It acts on parameters of two or more dimensions
    (projections, tables) and never on vectors (norm weights, biases)."""

    def build(self, at: Site) -> "Callable[[Iterable[tuple[str, torch.nn.Parameter]]], torch.optim.AdamW]":
        """A function from named parameters to the optimizer; those that need no gradient are left out."""
        import torch

        def make(named: Iterable[tuple[str, torch.nn.Parameter]]) -> torch.optim.AdamW:
            parameters = [parameter for _, parameter in named if parameter.requires_grad]
            groups = [
                {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": self.weight_decay},
                {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
            ]
            # One pass over plain CPU memory. On GPUs torch's default is as fast, and fused clashes with loss scaling.
            plain = all(type(p.data) is torch.Tensor and p.is_cpu for p in parameters)
            return torch.optim.AdamW(
                [group for group in groups if group["params"]],
                lr=self.lr,
                betas=(self.betas[0], self.betas[1]),
                eps=self.eps,
                fused=True if plain else None,
            )

        return make
