"""What all optimizers say: how fast weights learn, and how fast they shrink."""

from typing import Annotated

from pydantic import Field, PositiveFloat

from blueprint.kinds import Optimizer

#: A share below 1.
Beta = Annotated[float, Field(ge=0, lt=1)]


class Rated(Optimizer):
    """An optimizer with a learning rate and weight decay."""

    lr: PositiveFloat = 3e-4
    """Peak learning rate; the schedule multiplies it."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Share, times the learning rate, by which weights shrink a step. It acts on parameters of two or more dimensions
    (projections, tables) and never on vectors (norm weights, biases)."""
