"""The mask that keeps packed documents apart."""

from __future__ import annotations

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Mask
from blueprint.visible import Visible


@register("document")
class Document(Mask):
    """Each token sees its own document only, where several are packed into one sequence (Krell et al., 2021)."""

    def check(self, at: Site) -> Faults:
        """Only ids are packed."""
        if not at.ids:
            return Fault(
                "images are not packed into one sequence: there are no documents to keep apart", fix="remove it"
            )
        return None

    def visible(self, at: Site) -> Visible:
        """The keys of the query's own segment."""
        return Visible(same_segment=True)
