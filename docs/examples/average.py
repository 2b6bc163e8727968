"""A mixer of one's own: every token sees the mean of what came before it."""

from typing import ClassVar

import torch
from torch import nn

import blueprint as bp
from blueprint.component import Size
from blueprint.kinds import Attention
from blueprint.ops import Linear


@bp.register("average")
class Average(Attention):
    """The running mean of the values so far, in place of attention (Zhang et al., 2018, eq. 1)."""

    traits: ClassVar[frozenset[str]] = frozenset({"causal", "linear_cost"})

    inner: Size = "d_model"
    """Width of the values that are averaged."""

    def build(self, at: bp.Site) -> nn.Module:
        """The module."""
        return AverageMixer(self.inner, at)


class AverageMixer(nn.Module):
    def __init__(self, inner, at):
        super().__init__()
        self.v = Linear(at.width, inner, bias=False)
        self.o = Linear(inner, at.width, bias=False, role="residual")

    def forward(self, x_BTD, flow, state=None):
        keep_BT1 = torch.ones_like(x_BTD[..., :1]) if flow.keep_BT is None else flow.keep_BT[..., None].to(x_BTD)
        total_BTI = (self.v(x_BTD) * keep_BT1).cumsum(1)
        return self.o(total_BTI / keep_BT1.cumsum(1).clamp(min=1)), {}
