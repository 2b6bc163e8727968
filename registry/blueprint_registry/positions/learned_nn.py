"""A learned vector for every position. Shapes: `B` batch, `T` tokens, `D` model width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from blueprint.ops import Embedding, Flow

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.positions.learned import Learned


class LearnedPositions(Embedding):
    """table[position + offset]. Raises ValueError where the site has no `max_length`."""

    def __init__(self, said: Learned, at: Site) -> None:
        if at.max_length is None:
            raise ValueError("learned positions need max_length")
        super().__init__(at.max_length + said.offset, at.width)
        self.offset, self.max_length = said.offset, at.max_length

    def forward(self, flow: Flow) -> Tensor:  # type: ignore[override]
        """Vectors (B, T, D) of the flow's positions. Raises IndexError for a position at or past `max_length`."""
        try:
            return super().forward(flow.position_BT + self.offset)
        except IndexError as error:  # on CPU; elsewhere the device reports it in its own words
            last = int(flow.position_BT.max())
            raise IndexError(f"position {last} has no learned vector: max_length is {self.max_length}") from error
