"""The mask that keeps packed documents apart."""

from __future__ import annotations

from blueprint.component import Site, register
from blueprint.kinds import Mask
from blueprint.visible import Visible


@register("document")
class Document(Mask):
    """Each token sees its own document only, where several are packed into one sequence (Krell et al., 2021)."""

    def visible(self, at: Site) -> Visible:
        """The keys of the query's own segment."""
        return Visible(same_segment=True)
