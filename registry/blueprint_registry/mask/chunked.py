"""The mask of chunks that do not see each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from pydantic import PositiveInt

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Mask
from blueprint.visible import Visible


@dataclass(frozen=True)
class SameChunk:
    """Whether two places lie in one chunk of so many tokens."""

    chunk: int

    @property
    def period(self) -> int:
        """What holds of two places holds a chunk further on."""
        return self.chunk

    def __call__(self, q_order: Any, k_order: Any) -> Any:
        """⌊i / chunk⌋ = ⌊j / chunk⌋."""
        return q_order // self.chunk == k_order // self.chunk

    def describe(self) -> str:
        """In a few words, for the plan."""
        return f"chunks of {self.chunk}"


@register("chunked")
class Chunked(Mask):
    """The sequence cut into chunks of equal length, each of which sees itself alone (Llama 4, 2025; Child et al., 2019,
    §4.3, first head)."""

    chunk: PositiveInt
    """How many tokens a chunk has; chunks are counted from the first token of the sequence, whatever documents are
    packed in it."""

    def visible(self, at: Site) -> Visible:
        """The query's own chunk, which lies within `chunk` − 1 tokens of it."""
        reach = self.chunk - 1
        return Visible(back=reach, ahead=None if at.causal else reach, tests=(SameChunk(self.chunk),))

    def miniature(self, at: Site) -> Self:
        """Chunks that still hide something of a short context."""
        return self.model_copy(update={"chunk": min(self.chunk, max(1, (at.max_length or 64) // 4))})

    def check(self, at: Site) -> Faults:
        """A chunk must be able to hide something."""
        if at.max_length is None or self.chunk <= at.max_length:
            return None
        return Fault(
            f"chunks of {self.chunk} never divide a context of {at.max_length}",
            "chunk",
            "say `full`, or choose smaller chunks",
        )
