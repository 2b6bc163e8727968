"""Adam with decoupled weight decay."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat

from blueprint.component import Site, register
from blueprint_registry.optimizer._rates import Beta, Rated

if TYPE_CHECKING:
    import torch

    from blueprint.ops import Weight


@register("adamw")
class Adamw(Rated):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019, alg. 2); defaults as GPT-3 (2020, app. B)."""

    betas: list[Beta] = Field(default=[0.9, 0.95], min_length=2, max_length=2)
    """Decay rates of the running means of the gradient and of its square."""

    eps: PositiveFloat = 1e-8
    """Added to the root of the second mean."""

    def build(self, at: Site) -> "Callable[[Iterable[Weight]], torch.optim.AdamW]":
        """A function from weights to the optimizer."""
        import torch

        from blueprint.ops import parameter_groups

        def make(weights: "Iterable[Weight]") -> torch.optim.AdamW:
            weights = list(weights)
            # One pass over plain CPU memory. On GPUs torch's default is as fast, and fused clashes with loss scaling.
            plain = all(type(each.parameter.data) is torch.Tensor and each.parameter.is_cpu for each in weights)
            return torch.optim.AdamW(
                parameter_groups(weights, self.lr, self.weight_decay),
                betas=(self.betas[0], self.betas[1]),
                eps=self.eps,
                fused=True if plain else None,
            )

        return make
