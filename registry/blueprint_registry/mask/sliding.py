"""The mask of a window that moves with the query."""

from __future__ import annotations

from typing import Self

from pydantic import PositiveInt

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Mask
from blueprint.visible import Visible


@register("sliding")
class Sliding(Mask):
    """A window around a token (Beltagy et al., 2020, §3.1), or ending with it (Mistral: Jiang et al., 2023, §2)."""

    window: PositiveInt
    """Causal: how many keys a query sees, itself included. Otherwise: how far it sees to either side."""

    def visible(self, at: Site) -> Visible:
        """The band around the query: the last `window` keys, or those at a distance of at most `window`."""
        return Visible(back=self.window - 1) if at.causal else Visible(back=self.window, ahead=self.window)

    def miniature(self, at: Site) -> Self:
        """A window that still hides something of a short context."""
        return self.model_copy(update={"window": min(self.window, max(1, (at.max_length or 64) // 4))})

    def check(self, at: Site) -> Faults:
        """The window must be able to hide something."""
        if at.max_length is None or self.window <= at.max_length:
            return None
        return Fault(
            f"a window of {self.window} never narrows a context of {at.max_length}",
            "window",
            "say `full`, or choose a smaller window",
        )
