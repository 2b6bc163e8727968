"""Logits over the vocabulary. Shapes: `B` batch, `T` tokens, `D` model width, `V` vocabulary."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import Flow, Linear, linear

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.head.language_model import LanguageModel


class LanguageModelHead(nn.Module):
    """cap(scale · x Wᵀ + bias).

    `projection`, `scale` and `softcap` are what a loss needs that never holds all logits at once. Raises ValueError
    where the vocabulary's size is not known.
    """

    scale: float
    softcap: float | None
    bias: Tensor | None

    def say(self, said: LanguageModel, at: Site) -> None:
        """Take over what the spec says."""
        self.scale, self.softcap = at.number(said.scale), said.softcap

    @abstractmethod
    def projection(self, table_VD: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """W (V, D) and the bias (V,) or None."""

    def forward(self, x_BTD: Tensor, table_VD: Tensor | None = None, flow: Flow | None = None) -> Tensor:
        """Hidden states (B, T, D) to logits (B, T, V); `table_VD` is the embedding's, for a tied head."""
        weight_VD, bias_V = self.projection(table_VD)
        logits_BTV = linear(x_BTD if self.scale == 1 else x_BTD * self.scale, weight_VD, bias_V)
        return logits_BTV if self.softcap is None else torch.tanh(logits_BTV / self.softcap) * self.softcap


def _vocabulary(at: Site) -> int:
    if at.vocab_size is None:
        raise ValueError("a language-model head needs vocab_size: say it in the model, or name a tokenizer")
    return at.vocab_size


class OwnLanguageModelHead(Linear, LanguageModelHead):  # type: ignore[misc]
    """A head with a matrix of its own, `weight` (V, D)."""

    def __init__(self, said: LanguageModel, at: Site) -> None:
        super().__init__(at.width, _vocabulary(at), bias=said.bias is True, role="head")
        self.say(said, at)
        if said.bias == "fixed":
            del self.bias
            self.register_buffer("bias", torch.zeros(at.vocab_size or 0))

    def projection(self, table_VD: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The head's own matrix (V, D) and bias."""
        return self.weight, self.bias

    forward = LanguageModelHead.forward  # type: ignore[assignment]


class TiedLanguageModelHead(LanguageModelHead):
    """A head whose matrix is the embedding's table."""

    def __init__(self, said: LanguageModel, at: Site) -> None:
        super().__init__()
        self.say(said, at)
        bias_V = torch.zeros(_vocabulary(at)) if said.bias else None
        if said.bias == "fixed":
            self.register_buffer("bias", bias_V)
        else:
            self.bias = None if bias_V is None else nn.Parameter(bias_V)

    def projection(self, table_VD: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The embedding's table (V, D), and the bias. Raises ValueError where there is no table to tie to."""
        if table_VD is None:
            raise ValueError("the head is tied, but the embedding has no token table to tie to; say `tie: false`")
        return table_VD, self.bias
