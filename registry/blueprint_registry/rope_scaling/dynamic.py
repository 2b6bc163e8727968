"""Dynamic NTK scaling."""

from typing import Annotated, Any

from pydantic import Field, PositiveInt

from blueprint.component import Fault, Faults, Site, register
from blueprint_registry.rope_scaling import RopeScaling, unscaled


@register("dynamic")
class Dynamic(RopeScaling):
    """Dynamic NTK: a base that grows with the sequence once it is longer than the model was trained for
    (bloc97 and emozilla, 2023; Peng et al., 2023, *YaRN*, §3.3)."""

    factor: Annotated[float, Field(ge=1)] = 1.0
    """How strongly the base grows."""

    original_length: PositiveInt | None = None
    """Length the model was trained for, in tokens; null for `max_length`."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """For sequences that are soon too long."""
        return [{"factor": 2.0, "original_length": 6}]

    def reach(self, at: Site) -> int:
        """The length up to which nothing changes."""
        return self.original_length or at.max_length or 0

    def check(self, at: Site) -> Faults:
        """The growth is counted from a known length, and shared out among frequencies of which the first stays."""
        if at.width < 4:
            return Fault("one pair of channels turns at one frequency, the first, which no base changes")
        if not self.reach(at):
            return Fault("dynamic scaling needs to know the trained length: say it, or the model's `max_length`")
        return None

    def steady(self, length: int, at: Site) -> int | None:
        """Up to the trained length, and beyond it no further: the base follows every token."""
        return max(length, self.reach(at))

    def frequencies(self, theta: float, step_F: Any, at: Site, length_B: Any = None) -> Any:
        """(F) up to the trained length, (B, 1, 1, F) for sequences of given lengths."""
        if length_B is None:
            return unscaled(theta, step_F)
        width = 2 * step_F.shape[0]
        length_B111 = length_B.clamp(min=self.reach(at)).to(step_F.dtype)[:, None, None, None]
        growth_B111 = self.factor * length_B111 / self.reach(at) - (self.factor - 1)
        return 1.0 / (theta * growth_B111 ** (width / (width - 2))) ** step_F
