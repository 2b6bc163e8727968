"""Gaussian error linear unit by sigmoid."""

from typing import TYPE_CHECKING

from blueprint.component import Site, register
from blueprint_registry.activation import Activation

if TYPE_CHECKING:
    from blueprint_registry.activation.quick_gelu_nn import QuickGeluActivation


@register("quick_gelu")
class QuickGelu(Activation):
    """The sigmoid approximation of `gelu`: x · σ(1.702 x) (Hendrycks & Gimpel, 2016, §2)."""

    def build(self, at: Site) -> "QuickGeluActivation":
        """The module; it has no parameters."""
        from blueprint_registry.activation.quick_gelu_nn import QuickGeluActivation

        return QuickGeluActivation()
