"""What multi-head attention may say beyond its heads, section by section."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from blueprint.component import Fault, Section, slot
from blueprint.kinds import Norm
from blueprint_registry.activation import Activation


class QkNorm(Section):
    """A norm on queries and keys before they meet (Henry et al., 2020; Dehghani et al., 2023, §2)."""

    over: Literal["head", "heads", "full"] = "head"
    """What is normalised: each `head` with weights that all heads share, each of the `heads` with weights of its own,
    or the `full` width of all heads together."""
    when: Literal["before", "after"] = "before"
    """Before or after positions rotate queries and keys."""
    norm: Norm = slot(inherit=True)
    """The norm; queries and keys have one each."""


class OutputGate(Section):
    """A gate on what the heads gathered, computed from the tokens that ask (Qiu et al., 2025, *Gated Attention for
    LLMs*, §2.2)."""

    per: Literal["element", "head"] = "element"
    """Whether every channel of a head has a gate of its own, or each head one for all its channels."""
    activation: Activation = slot("sigmoid")
    """The function that makes the gate of a linear map of the token."""
    bias: bool = False
    """Whether that map adds a bias."""


class Temperature(Section):
    """Scores that sharpen with the position of the query, against attention that fades over long contexts: times
    1 + scale · log(1 + ⌊(position + offset) / floor⌋) (Llama 4, 2025; Nakanishi, 2025, *Scalable-Softmax*)."""

    formulas: ClassVar[bool] = True

    scale: PositiveFloat
    """How fast scores grow with the logarithm."""
    floor: PositiveInt
    """How many positions share a temperature; the first so many keep theirs."""
    offset: NonNegativeInt = 0
    """Added to the position, which counts from 0."""

    def shortened(self, length: int | None) -> Self:
        """The same with several temperatures within a short context of `length` tokens."""
        return self.model_copy(update={"floor": min(self.floor, max(1, (length or 64) // 4))})


def scale_faults(scale: float | str) -> Iterator[Fault]:
    """What is wrong with the scale of scores, as far as it is a number: kernels that hide keys hide them by scores of
    minus infinity, which a scale of 0 or less turns into something else."""
    if not isinstance(scale, str) and scale <= 0:
        yield Fault(f"scores multiplied by {scale:g} leave nothing to choose keys by", "scale", "say more than 0")
