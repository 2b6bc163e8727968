"""Ways to stretch rotary positions beyond the lengths a model was trained on."""

from typing import Any

from blueprint.component import Component, Site


class RopeScaling(Component, kind="rope_scaling"):
    """How the frequencies of rotary positions are stretched. Object: the component itself; no module.

    `frequencies(theta, step_F, at, length_B)` gives the frequencies (F), or (B, 1, 1, F) where they follow the length
    of each sequence; `step_F` are the exponents 2i/width. `magnitude(at)` multiplies cosines and sines.
    """

    def steady(self, length: int, at: Site) -> int | None:
        """Up to how many tokens the frequencies stay what they are for `length`; None: they follow no length from
        there on. Keys that were turned may be kept for as long."""
        return None

    def frequencies(self, theta: float, step_F: Any, at: Site, length_B: Any = None) -> Any:
        """The frequencies, from tensors by operators alone, so that nothing here imports torch."""
        raise TypeError(f"rope_scaling `{self.spec_name}` gives no frequencies")

    def magnitude(self, at: Site) -> float:
        """What cosines and sines are multiplied by; a score gets its square."""
        return 1.0

    def sharpness(self, at: Site) -> float:
        """What latent attention multiplies its scores by besides."""
        return 1.0


def unscaled(theta: float, step_F: Any) -> Any:
    """θ^(−2i/width), as without scaling (Su et al., 2021, eq. 15)."""
    return 1.0 / theta**step_F
