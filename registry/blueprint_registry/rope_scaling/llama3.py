"""Llama 3's scaling."""

import math
from typing import Any

from pydantic import PositiveFloat, PositiveInt

from blueprint.component import Fault, Faults, Site, register, rule
from blueprint_registry.rope_scaling import RopeScaling, unscaled


@register("llama3")
class Llama3(RopeScaling):
    """Slow frequencies divided by a factor, fast ones kept, those between blended (Llama team, 2024, *The Llama 3 Herd
    of Models*, §3.4.2; constants of Llama 3.1's release)."""

    factor: PositiveFloat = 8.0
    """What slow frequencies are divided by."""

    low_freq_factor: PositiveFloat = 1.0
    """Frequencies that turn less often than this over the trained length are slow."""

    high_freq_factor: PositiveFloat = 4.0
    """Frequencies that turn more often than this over the trained length are fast; at `low_freq_factor` there is
    nothing between (Llama 4)."""

    original_length: PositiveInt = 8192
    """Length the model was trained for, in tokens."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Llama 3.1's own, and one that shows at short lengths."""
        return [{}, {"original_length": 8}]

    @rule("high_freq_factor", "low_freq_factor")
    def _slow_before_fast(high: float, low: float) -> Faults:
        if high < low:
            return Fault(f"high_freq_factor {high:g} must not be below low_freq_factor {low:g}")
        return None

    def frequencies(self, theta: float, step_F: Any, at: Site, length_B: Any = None) -> Any:
        """Each frequency divided, kept or blended by how often it turns over the trained length."""
        plain_F = unscaled(theta, step_F)
        turns_F = self.original_length * plain_F / (2 * math.pi)
        between = max(self.high_freq_factor - self.low_freq_factor, 1e-30)  # nought makes the blend a step
        smooth_F = ((turns_F - self.low_freq_factor) / between).clamp(0, 1)
        return (1 - smooth_F) * plain_F / self.factor + smooth_F * plain_F
