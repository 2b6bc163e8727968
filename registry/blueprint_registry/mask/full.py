"""The mask that hides nothing."""

from __future__ import annotations

from blueprint.component import Site, register
from blueprint.kinds import Mask
from blueprint.visible import Visible


@register("full")
class Full(Mask):
    """No restriction beyond the stack's own causality (Vaswani et al., 2017, §3.2.3)."""

    def visible(self, at: Site) -> Visible:
        """Every key."""
        return Visible()
