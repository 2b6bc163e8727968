"""What blocks have in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from blueprint.component import Component, Site


class MixerBlock(nn.Module):
    """A block around at most one sequence mixer, called `attention`, whose state is the block's."""

    attention: Any
    feed_forward: nn.Module | None
    attention_norm: nn.Module | None
    feed_forward_norm: nn.Module | None

    def __init__(self, said: Component, at: Site) -> None:
        super().__init__()
        self.attention = self.feed_forward = self.attention_norm = self.feed_forward_norm = None
        for _, part, site in said.parts(at):
            setattr(self, site.path.rpartition(".")[2], part.build(site))

    @property
    def incremental(self) -> bool:
        """Whether the block decodes step by step: whether its mixer does, if it has one."""
        mixer = self.attention
        return mixer is None or bool(getattr(mixer, "incremental", hasattr(mixer, "new_state")))

    def new_state(
        self, batch: int, length: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        """The mixer's state; None without a mixer."""
        return None if self.attention is None else self.attention.new_state(batch, length, dtype, device)


def merged(terms: dict[str, Tensor], more: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of two sublayers; what both name is added up."""
    if not (terms and more):
        return terms or more
    return {**terms, **{name: terms[name] + term if name in terms else term for name, term in more.items()}}
