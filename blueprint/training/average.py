"""A running mean of the weights beside those that learn. No Lightning here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from blueprint.ops import spread_like
from blueprint.schema.learning import Ema


class Average:
    """Means of a model's weights that learn, by their names, in float32 at least; none before they begin."""

    def __init__(self, said: Ema, model: nn.Module) -> None:
        self.said, self.model = said, model
        self.means: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after optimizer step `step` (0: before the first)."""
        since = step - self.said.begin
        if since < 0 or since % self.said.every_n_steps:
            return
        for name, weight in self._weights():
            if since == 0:
                self.means[name] = weight.to(torch.promote_types(weight.dtype, torch.float32), copy=True)
            else:
                mean = self.means[name]
                mean.lerp_(weight.to(mean.dtype), 1 - self.said.decay)

    def load(self, means: Mapping[str, Tensor]) -> None:
        """Go on from means that were saved."""
        weights = dict(self._weights())
        self.means = {name: spread_like(mean, weights[name]).clone() for name, mean in means.items()}

    @contextmanager
    def worn(self) -> Iterator[None]:
        """The model with the means for its weights, as far as there are any; afterwards all is as it was."""
        kept = {name: weight.detach().clone() for name, weight in self._weights()} if self.means else {}
        try:
            self._put(self.means)
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, weight in self._weights() if values else ():
            weight.copy_(values[name])

    def _weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad)
