"""Logits over the vocabulary."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PositiveFloat

from blueprint.component import Factor, Faults, Site, register
from blueprint.kinds import Head
from blueprint_registry.head._tied import tie_fault

if TYPE_CHECKING:
    from blueprint_registry.head.language_model_nn import LanguageModelHead


@register("language_model")
class LanguageModel(Head):
    """Logits over the vocabulary: cap(scale · x Wᵀ + bias) (Vaswani et al., 2017, §3.4)."""

    traits: ClassVar[frozenset[str]] = frozenset({"vocabulary"})

    tie: bool = False
    """Whether W is the embedding's table rather than a matrix of its own (Press & Wolf, 2017)."""

    bias: bool | Literal["fixed"] = False
    """Whether a learned bias is added to the scaled logits; a `fixed` one is stored and added, but not trained."""

    scale: Factor = 1
    """What logits are multiplied with before bias and cap; `1 / sqrt(d_model)` divides."""

    softcap: PositiveFloat | None = None
    """Bends logits smoothly into (−softcap, softcap) by softcap · tanh(logit / softcap) (Gemma 2, 2024); null: no."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """A matrix of its own, and the tied table with everything."""
        return [
            {},
            {"tie": True, "bias": True, "scale": "1 / sqrt(d_model)", "softcap": 30.0},
            {"bias": True},
            {"bias": "fixed"},
        ]

    def check(self, at: Site) -> Faults:
        """A table can be read only where there is one of the right width."""
        return tie_fault(at, at.width) if self.tie else None

    def build(self, at: Site) -> "LanguageModelHead":
        """The module from `at.width` to `at.vocab_size`."""
        from blueprint_registry.head.language_model_nn import OwnLanguageModelHead, TiedLanguageModelHead

        return (TiedLanguageModelHead if self.tie else OwnLanguageModelHead)(self, at)
