"""Transformer-XL's relative positions.

B batch, T queries, S keys, N tokens, D model width, H heads, G key-value heads, E head width, F = D / 2 frequencies.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from blueprint.ops import Linear
from blueprint.ops.relative import against

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.position.transformer_xl import TransformerXl


class Preferences(nn.Module):
    """What every query adds to itself, whatever its content: `u` before contents, `v` before positions, (H, E)."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.u, self.v = (nn.Parameter(torch.zeros(heads, width)) for _ in "uv")


class TransformerXlPosition(nn.Module):
    """Adds u · k + (q + v) · W r to the scores, r = (sin, cos) of the distance times each frequency (Dai et al., 2019,
    §3.3, terms b, c and d)."""

    def __init__(self, said: TransformerXl, at: Site) -> None:
        super().__init__()
        if at.heads is None:
            raise ValueError("transformer_xl stands inside an attention with heads")
        make = partial(Preferences, at.heads, at.width)
        self.preferences = at.once("preferences", said, make) if said.scope == "stack" else make()
        self.r = Linear(at.d_model, at.heads * at.width, bias=False)
        self.heads, self.theta = at.heads, said.theta
        # No buffer: nothing to save, to lose on the meta device or to be rounded by a change of dtype.
        self._frequency_F = said.theta ** -(torch.arange(0, at.d_model, 2, device="cpu").float() / at.d_model)

    def score_bias(self, project_q: Callable[..., Tensor], project_k: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """What adds the three terms to the scores."""
        u_HE, v_HE = self.preferences.u, self.preferences.v
        r_HED = self.r.weight.unflatten(0, (self.heads, -1))

        def added(q_BHTE: Tensor, k_BGSE: Tensor, q_position_BT: Tensor, k_position_BS: Tensor) -> Tensor:
            dtype = q_BHTE.dtype
            u_BH1S = against(k_BGSE, u_HE[:, None].to(dtype)).transpose(-1, -2)
            # (q + v) · W r = Σ a sin(i − j) + c cos(i − j), which parts into what knows i and what knows j: the
            # products are one of vectors, and no table of distances is needed.
            asked_BHTD = (q_BHTE + v_HE[:, None].to(dtype)) @ r_HED.to(dtype)
            a_BHTF, c_BHTF = asked_BHTD.chunk(2, -1)
            sin_B1TF, cos_B1TF = self._waves(q_position_BT, dtype)
            sin_B1SF, cos_B1SF = self._waves(k_position_BS, dtype)
            q_BHTD = torch.cat((a_BHTF * sin_B1TF + c_BHTF * cos_B1TF, c_BHTF * sin_B1TF - a_BHTF * cos_B1TF), -1)
            return u_BH1S + q_BHTD @ torch.cat((cos_B1SF, sin_B1SF), -1).transpose(-1, -2)

        return added

    def _waves(self, position_BN: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Sines and cosines (B, 1, N, F), computed in float32."""
        angle_B1NF = position_BN[:, None, :, None].float() * self._frequency_F.to(position_BN.device)
        return angle_B1NF.sin().to(dtype), angle_B1NF.cos().to(dtype)

    def extra_repr(self) -> str:
        """The base, for printing."""
        return f"theta={self.theta:g}"
