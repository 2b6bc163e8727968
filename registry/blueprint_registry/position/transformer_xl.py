"""Transformer-XL's relative positions."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveFloat

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Position

if TYPE_CHECKING:
    from blueprint_registry.position.transformer_xl_nn import TransformerXlPosition


@register("transformer_xl")
class TransformerXl(Position):
    """Scores (q + u) · k + (q + v) · W r, where r is the sinusoid of the distance (Dai et al., 2019, *Transformer-XL*,
    §3.3). Distances are told apart however long the sequence; scores cost d_model products a pair and head."""

    traits: ClassVar[frozenset[str]] = frozenset({"positional", "content"})

    theta: PositiveFloat = 10000.0
    """The base of the sinusoid's frequencies."""

    scope: Literal["stack", "layer"] = "stack"
    """Whether all layers of a stack (that say the same here) share `u` and `v`, or each layer has its own, which the
    authors' code calls untied. `W` is each layer's own."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Tied and untied."""
        return [{}, {"theta": 500.0, "scope": "layer"}]

    def check(self, at: Site) -> Faults:
        """The sinusoid is of pairs."""
        if at.d_model % 2:
            return Fault(f"a sinusoid has sines and cosines in pairs: d_model {at.d_model} is odd")
        return None

    def build(self, at: Site) -> "TransformerXlPosition":
        """The module for `at.heads` heads of `at.width`."""
        from blueprint_registry.position.transformer_xl_nn import TransformerXlPosition

        return TransformerXlPosition(self, at)
