"""Squared rectifier."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from blueprint_registry.activation.relu2_nn import Relu2Activation


@register("relu2")
class Relu2(Activation):
    """Squared rectifier: max(0, x)² (So et al., 2021, *Primer*, §4)."""

    def build(self, at: Site) -> "Relu2Activation":
        """The module; it has no parameters."""
        from blueprint_registry.activation.relu2_nn import Relu2Activation

        return Relu2Activation()
