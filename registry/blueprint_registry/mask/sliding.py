"""The mask of a window that moves with the query."""

from __future__ import annotations

from pydantic import PositiveInt

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Mask
from blueprint.visible import Visible


@register("sliding")
class Sliding(Mask):
    """A window around each token (Beltagy et al., 2020, §3.1); behind it, where the stack is causal (Jiang et al., 2023,
    §2)."""

    window: PositiveInt
    """Causal: how many keys a query sees, itself included. Otherwise: how far it sees to either side."""

    def visible(self, at: Site) -> Visible:
        """The band around the query: the last `window` keys, or those at a distance of at most `window`."""
        return Visible(back=self.window - 1) if at.causal else Visible(back=self.window, ahead=self.window)

    def check(self, at: Site) -> Faults:
        """The window must be able to hide something."""
        if at.max_length is None or self.window <= at.max_length:
            return None
        return Fault(
            f"a window of {self.window} never narrows a context of {at.max_length}",
            "window",
            "say `full`, or choose a smaller window",
        )
