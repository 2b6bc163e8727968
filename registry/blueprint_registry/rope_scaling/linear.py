"""Position interpolation."""

from typing import Any

from pydantic import PositiveFloat

from blueprint.component import Site, register
from blueprint_registry.rope_scaling import RopeScaling, unscaled


@register("linear")
class Linear(RopeScaling):
    """Position interpolation: every position divided by a factor (Chen et al., 2023, eq. 4)."""

    factor: PositiveFloat
    """How many times longer sequences become."""

    def frequencies(self, theta: float, step_F: Any, at: Site, length_B: Any = None) -> Any:
        """Every frequency divided by the factor."""
        return unscaled(theta, step_F) / self.factor
