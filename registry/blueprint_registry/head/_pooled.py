"""What heads have in common that may have a dense layer before their output, and those of whole sequences."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from blueprint.component import Component, Fault, Faults, Site, rule, slot
from blueprint.kinds import Head, Norm, Pool
from blueprint_registry.activation import Activation


class Transforming(Head):
    """A head that makes norm(act(x V + c)) of a vector first, each step where it is said."""

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


class Pooled(Transforming):
    """A head that makes one vector of all tokens: norm(act(pool(x) V + c))."""

    traits: ClassVar[frozenset[str]] = frozenset({"pooled"})

    over: Pool = slot("first")
    """What stands for the sequence, padding aside, such as its `first` token (BERT's `[CLS]`) or the `mean` of all."""

    def inside(self, at: Site) -> Site:
        """Where the parts after the pool stand: on the vector."""
        return replace(at, width=self.over.pooled_width(at) if self.activation is None else at.width)

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The pool, which works on tokens, and the parts that work on the vector."""
        inside = self.inside(at)
        for name, part, _ in super().parts(at):
            yield name, part, (at if name == "over" else inside).child(name)
