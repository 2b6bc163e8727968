"""A norm of its own for every head.

B batch, T tokens, H heads, E width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from blueprint.component import Site
from blueprint.kinds import Norm


class EachHead(nn.Module):
    """`(x_BTHE) -> x_BTHE`: any norm written for one head, with parameters (H, …) stacked under its own names.

    The norm itself is mapped over the heads, so that it need not know of them.
    """

    def __init__(self, make: Callable[[], nn.Module], heads: int) -> None:
        super().__init__()
        self.make, self.heads = make, heads
        one = make()
        held = {**dict(one.named_parameters()), **dict(one.named_buffers())}
        # Only its code is used: made without storage (what is fake cannot be moved), and in a tuple so that its
        # parameters are not the module's.
        with torch.device("meta"):
            self._one = (make(),)
        self.names = {name: name.replace(".", "_") for name in held}
        for name, value in held.items():
            stacked = value.detach().expand(heads, *value.shape).clone()
            if isinstance(value, nn.Parameter):
                self.register_parameter(self.names[name], nn.Parameter(stacked))
            else:
                self.register_buffer(self.names[name], stacked)

    def reset_parameters(self) -> None:
        """Every head starts as the norm starts."""
        one = self.make()
        with torch.no_grad():
            for name, value in [*one.named_parameters(), *one.named_buffers()]:
                getattr(self, self.names[name]).copy_(value)

    def forward(self, x_BTHE: Tensor) -> Tensor:
        """Normalise every head with its own parameters."""
        held = {name: getattr(self, local) for name, local in self.names.items()}
        if not held:
            return self._norm(held, x_BTHE)
        y_BTHE: Tensor = vmap(self._norm, in_dims=(0, -2), out_dims=-2)(held, x_BTHE)
        return y_BTHE

    def _norm(self, held: dict[str, Tensor], x_BTE: Tensor) -> Tensor:
        y_BTE: Tensor = functional_call(self._one[0], held, (x_BTE,))
        return y_BTE


def each_head(norm: Norm, at: Site, heads: int) -> nn.Module:
    """The module of `norm` for one head at this site, for `heads` heads; it is what is announced as built."""
    module = EachHead(partial(norm.build, replace(at, built=None)), heads)
    made: nn.Module = module if at.built is None else at.built(norm, at, module)
    return made
