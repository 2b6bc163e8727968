"""What heads have in common that give one output for a whole sequence."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from blueprint.component import Component, Fault, Faults, Site, rule, slot
from blueprint.kinds import Head, Norm
from blueprint_registry.activation import Activation

Over = Literal["first", "last", "mean", "first_and_mean"]


class Pooled(Head):
    """A head that makes one vector of all tokens: norm(act(pool(x) V + c)), each step where it is said."""

    traits: ClassVar[frozenset[str]] = frozenset({"pooled"})

    over: Over = "first"
    """What stands for the sequence, padding aside: its `first` token (BERT's `[CLS]`), its `last`, the `mean` of all,
    or the first beside the mean of the others (`first_and_mean`, twice as wide)."""

    activation: Activation | None = slot(None)
    """What follows a dense layer to d_model, such as `tanh` (BERT's pooler); null for no dense layer."""

    dense_bias: bool = True
    """Whether the dense layer has a bias."""

    norm: Norm | None = slot(None)
    """A norm on the vector, after the dense layer where there is one; null for none."""

    @rule("dense_bias", "activation")
    def _bias_of_a_layer(dense_bias: bool, activation: Activation | None) -> Faults:
        if not dense_bias and activation is None:
            return Fault("`dense_bias` does nothing without a dense layer: `activation` is null", "dense_bias")
        return None

    def pooled_width(self, at: Site) -> int:
        """The width of what stands for the sequence."""
        return 2 * at.width if self.over == "first_and_mean" else at.width

    def inside(self, at: Site) -> Site:
        """Where the parts stand: on the vector."""
        return replace(at, width=self.pooled_width(at) if self.activation is None else at.width)

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The parts inside, which work on the vector."""
        yield from super().parts(self.inside(at))
