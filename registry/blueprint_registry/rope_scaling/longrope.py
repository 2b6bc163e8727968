"""LongRoPE."""

import math
from typing import Annotated, Any, Self

from pydantic import Field, PositiveFloat, PositiveInt

from blueprint.component import Fault, Faults, Site, register, rule
from blueprint_registry.rope_scaling import RopeScaling

Factors = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]


@register("longrope")
class Longrope(RopeScaling):
    """A factor for every frequency, found by search, one set for short and one for long sequences
    (Ding et al., 2024, *LongRoPE*, §3)."""

    short_factor: Factors
    """What each frequency is divided by while a sequence is no longer than `original_length`."""

    long_factor: Factors
    """What each frequency is divided by from then on."""

    original_length: PositiveInt
    """Length the model was trained for, in tokens."""

    attention_factor: PositiveFloat | None = None
    """What cosines and sines are multiplied by; null for sqrt(1 + ln(max_length / original_length) /
    ln(original_length))."""

    @rule("long_factor", "short_factor")
    def _one_factor_each(long: list[float], short: list[float]) -> Faults:
        if len(long) != len(short):
            return Fault(f"{len(long)} long factors stand beside {len(short)} short ones")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """For heads of eight channels."""
        return [{"short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [1.0, 2.0, 3.0, 4.0], "original_length": 8}]

    def magnitude(self, at: Site) -> float:
        """The attention factor: said, or by how much longer the model reaches."""
        if self.attention_factor is not None:
            return self.attention_factor
        ratio = (at.max_length or self.original_length) / self.original_length
        return math.sqrt(1 + math.log(ratio) / math.log(self.original_length)) if ratio > 1 else 1.0

    def steady(self, length: int, at: Site) -> int | None:
        """As far as the short factors go; the long ones stay."""
        return self.original_length if length <= self.original_length else None

    def frequencies(self, theta: float, step_F: Any, at: Site, length_B: Any = None) -> Any:
        """(F) of the short set, or for each sequence (B, 1, 1, F) the set of its length."""
        turn_F = theta**step_F
        short_F = 1.0 / (step_F.new_tensor(self.short_factor) * turn_F)
        if length_B is None:
            return short_F
        long_F = 1.0 / (step_F.new_tensor(self.long_factor) * turn_F)
        return short_F.where((length_B <= self.original_length)[:, None, None, None], long_F)

    def check(self, at: Site) -> Faults:
        """There is a factor for each frequency of the turned width."""
        count = at.width // 2
        if len(self.short_factor) != count:
            return Fault(f"{count} frequencies need {count} factors, not {len(self.short_factor)}", "short_factor")
        return None

    def miniature(self, at: Site) -> Self:
        """As many factors as the small width has frequencies, from the first."""
        count = at.width // 2
        fewer = {"short_factor": self.short_factor[:count], "long_factor": self.long_factor[:count]}
        return self.model_copy(update=fewer)
