"""Logits over the vocabulary, after a layer of the head's own."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from blueprint.component import Component, Fault, Faults, Site, Size, register, rule, slot
from blueprint.kinds import Head, Norm
from blueprint_registry.activation import Activation
from blueprint_registry.head._tied import tie_fault

if TYPE_CHECKING:
    from blueprint_registry.head.masked_language_model_nn import MaskedLanguageModelHead


@register("masked_language_model")
class MaskedLanguageModel(Head):
    """Logits over the vocabulary from norm(act(x V + c)): the head that tells masked tokens (Devlin et al., 2019,
    §3.1, as released)."""

    traits: ClassVar[frozenset[str]] = frozenset({"vocabulary"})

    width: Size | None = None
    """Width of the dense layer; null for d_model. A tied head has its table's width."""

    activation: Activation = slot("gelu")
    """What follows the dense layer."""

    dense_bias: bool = True
    """Whether the dense layer has a bias."""

    norm: Norm | None = slot(inherit=True)
    """The norm after the activation; null for none."""

    tie: bool = False
    """Whether the last matrix is the embedding's table rather than one of its own (Press & Wolf, 2017)."""

    bias: bool = True
    """Whether a learned bias is added to the logits."""

    @rule("width", "tie")
    def _table_says_width(width: int | str | None, tie: bool) -> Faults:
        if width is not None and tie:
            return Fault("a tied head has the width of the embedding's table", "width", "remove `width`")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """BERT's, with the table and with a matrix of its own; a narrow one with as little as can be."""
        bare = {"width": "d_model / 2", "dense_bias": False, "norm": None, "bias": False, "activation": "relu"}
        return [{"tie": True}, {}, bare]

    def inside(self, at: Site) -> Site:
        """Where the parts stand: on the width of the dense layer."""
        width = at.table if self.tie else self.width
        return replace(at, width=at.width if width is None else int(at.number(width)))

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The parts inside, which work on the width of the dense layer."""
        yield from super().parts(self.inside(at))

    def filled(self, at: Site) -> Self:
        """The width of the dense layer written out, unless it is the table's."""
        width = self.width if self.width is not None or self.tie else at.width
        return super(MaskedLanguageModel, self.model_copy(update={"width": width})).filled(at)

    def check(self, at: Site) -> Faults:
        """A table can be read only where there is one."""
        return tie_fault(at, self.inside(at).width) if self.tie else None

    def build(self, at: Site) -> "MaskedLanguageModelHead":
        """The module from `at.width` to `at.vocab_size`."""
        from blueprint_registry.head.masked_language_model_nn import MaskedLanguageModelHead

        return MaskedLanguageModelHead(self, at)
