"""YaRN."""

import math
from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from blueprint.component import Fault, Faults, Site, register, rule
from blueprint_registry.rope_scaling import RopeScaling


@register("yarn")
class Yarn(RopeScaling):
    """NTK by parts with a temperature: frequencies interpolated by how often they turn over the trained length, and
    scores scaled through cosines and sines (Peng et al., 2023, *YaRN*, §3.2 and §3.4)."""

    factor: PositiveFloat
    """How many times longer sequences become."""

    original_length: PositiveInt
    """Length the model was trained for, in tokens."""

    beta_fast: PositiveFloat = 32.0
    """Frequencies that turn more often than this over the trained length are kept."""

    beta_slow: PositiveFloat = 1.0
    """Frequencies that turn less often than this are divided by the factor."""

    truncate: bool = True
    """Whether the two limits are rounded outwards to whole channels."""

    attention_factor: PositiveFloat | None = None
    """What cosines and sines are multiplied by; null for the paper's 0.1 ln(factor) + 1, or as the `mscale`s say."""

    mscale: NonNegativeFloat | None = None
    """DeepSeek's: the magnitude is 0.1 · mscale · ln(factor) + 1, over the same of `mscale_all_dim`."""

    mscale_all_dim: NonNegativeFloat | None = None
    """DeepSeek's second scale, whose square latent attention multiplies into the softmax's scale instead."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Four times as long, with the paper's temperature and with DeepSeek's scales."""
        sizes = {"factor": 4.0, "original_length": 8, "beta_fast": 4.0}
        return [sizes, {**sizes, "truncate": False, "mscale": 1.0, "mscale_all_dim": 0.5}]

    @rule("beta_fast", "beta_slow")
    def _slow_before_fast(fast: float, slow: float) -> Faults:
        return Fault(f"beta_fast {fast:g} must exceed beta_slow {slow:g}") if fast <= slow else None

    @rule("mscale", "mscale_all_dim", "attention_factor")
    def _mscales_come_together(mscale: float | None, all_dim: float | None, attention: float | None) -> Faults:
        if (mscale is None) != (all_dim is None):
            alone = "mscale" if all_dim is None else "mscale_all_dim"
            return Fault(f"`{alone}` does nothing alone: the magnitude is a ratio of both", alone)
        if mscale is not None and attention is not None:
            return Fault("`mscale` does nothing beside `attention_factor`, which says the magnitude itself")
        return None

    def magnitude(self, at: Site) -> float:
        """The attention factor: said, a ratio of mscales, or the paper's."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.mscale and self.mscale_all_dim:
            return self._scale(self.mscale) / self._scale(self.mscale_all_dim)
        return self._scale(1.0)

    def sharpness(self, at: Site) -> float:
        """DeepSeek's: the square of the second scale."""
        return self._scale(self.mscale_all_dim) ** 2 if self.mscale_all_dim else 1.0

    def _scale(self, mscale: float) -> float:
        return 0.1 * mscale * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0

    def frequencies(self, theta: float, step_F: Any, at: Site, length_B: Any = None) -> Any:
        """Each frequency kept, divided, or between, by a ramp over the channels."""
        count = step_F.shape[0]
        low, high = (self._channel(turns, theta, 2 * count) for turns in (self.beta_fast, self.beta_slow))
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, 2 * count - 1)
        # Channels are counted in the dtype of the steps, by the steps themselves: 2i/width · width/2 is i.
        channel_F = (step_F * count).round()
        slow_F = ((channel_F - low) / (high - low if high != low else 0.001)).clamp(0, 1)
        turn_F = theta**step_F
        return 1.0 / (self.factor * turn_F) * slow_F + 1.0 / turn_F * (1 - slow_F)

    def _channel(self, turns: float, theta: float, width: int) -> float:
        """The channel whose frequency turns so often over the trained length (eq. 21)."""
        return width * math.log(self.original_length / (turns * 2 * math.pi)) / (2 * math.log(theta))
