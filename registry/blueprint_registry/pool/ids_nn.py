"""Tokens taken by their ids. Shapes: `B` batch, `T` tokens, `D` model width."""

from __future__ import annotations

from torch import Tensor, nn

from blueprint.ops import Flow
from blueprint_registry.pool.place_nn import first_index, kept, taken


class EosPool(nn.Module):
    """The first kept token with the id, else the first kept token."""

    def __init__(self, eos: int) -> None:
        super().__init__()
        self.eos = eos

    def forward(self, x_BTD: Tensor, flow: Flow | None = None) -> Tensor:
        """(B, T, D) to (B, D)."""
        keep_BT = kept(x_BTD, flow)
        # The first kept token counts as found where there is no other.
        found_BT = (ids(flow) == self.eos) & keep_BT
        score_BT = found_BT.byte() * 2
        first_B1 = first_index(keep_BT)[:, None]
        score_BT = score_BT.scatter(1, first_B1, score_BT.gather(1, first_B1).clamp_min(1))
        return taken(x_BTD, score_BT.argmax(1))

    def extra_repr(self) -> str:
        """The id, for printing."""
        return f"{self.eos}"


class LargestPool(nn.Module):
    """The first of the kept tokens with the largest id."""

    def forward(self, x_BTD: Tensor, flow: Flow | None = None) -> Tensor:
        """(B, T, D) to (B, D)."""
        return taken(x_BTD, ids(flow).masked_fill(~kept(x_BTD, flow), -1).argmax(1))


def ids(flow: Flow | None) -> Tensor:
    """The ids of the tokens (B, T). Raises ValueError where nobody told them."""
    if flow is None or flow.id_BT is None:
        raise ValueError("a pool that looks for an id needs the ids: hand the flow of the forward on")
    return flow.id_BT
