"""What stands beside the weights while they learn, and what is not kept for it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from blueprint.component import Section


class Recompute(Section):
    """Parts that are computed a second time when their gradients are due, in place of keeping what they computed
    (Chen et al., 2016): less memory, more time, the same numbers."""

    part: Literal["block", "attention", "feed_forward"] = "block"
    """What of a layer is computed again: all of it, or one of its parts."""
    every: PositiveInt = 1
    """Of which layers: of all, or of every second, third, … from the first on."""


class Ema(Section):
    """An exponential moving average of the weights, kept beside them while they learn."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Share of the average that stays at each update; the rest is the weights as they are then."""
    every_n_steps: PositiveInt = 1
    """Optimizer steps between updates."""
    begin: NonNegativeInt = 0
    """Optimizer steps after which it begins, from the weights of that time."""
    validation: Literal["averaged", "trained"] = "averaged"
    """Which weights the run's validations measure."""
