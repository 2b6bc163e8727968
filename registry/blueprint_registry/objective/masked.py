"""Telling masked tokens from those around them."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from blueprint.component import Fault, Faults, Site, register, rule
from blueprint.kinds import Tokenizer
from blueprint_registry.objective._predicting import Predicting

if TYPE_CHECKING:
    from blueprint_registry.objective._masking import Masking
    from blueprint_registry.objective._tokens_nn import TokensObjective

Share = Annotated[float, Field(ge=0, le=1)]


@register("masked")
class Masked(Predicting):
    """Cross-entropy of some tokens, chosen by lot and mostly hidden, given all the others: a mean over the chosen in
    nats (Devlin et al., 2019, §3.1).

    The lots are drawn anew every epoch (Liu et al., 2019, §4.1), for validation always the same. Special tokens and
    padding are never chosen. Smoothing, z-loss and the losses of the model's parts act in training alone.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"running", "softmax"})
    models: ClassVar[frozenset[str]] = frozenset({"encoder"})
    beside: ClassVar[dict[str, Any]] = {
        "model.type": "encoder",
        "model.vocab_size": None,
        "tokenizer": {"type": "byte", "mask": True},
    }

    share: Annotated[float, Field(gt=0, le=1)] = 0.15
    """Share of a sample's tokens that are chosen, at least one."""

    mask: Share = 0.8
    """Share of the chosen that the mask token replaces."""

    random: Share = 0.1
    """Share of the chosen that any token of the vocabulary replaces, special ones excepted; what `mask` and `random`
    leave stays as it is."""

    whole_word: bool = False
    """Whether the tokens of a word are chosen together (as BERT's later releases do; Cui et al., 2021, §3)."""

    @rule("mask", "random")
    def _no_more_than_all(mask: float, random: float) -> Faults:
        if mask + random > 1 + 1e-9:
            return Fault(
                f"`mask` and `random` are shares of the same tokens, and add up to {mask + random:g}, more than all",
                "mask",
                f"say `mask: {max(0.0, 1 - random):g}`",
            )
        if mask == random == 0:
            return Fault("no token is hidden: the model would read what it is to tell", "mask", "say one of the two")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """BERT's."""
        return [{}, {"share": 0.3, "mask": 1.0, "random": 0.0}]

    def fits(self, tokenizer: Tokenizer) -> Faults:
        """A mask token there must be, and whole words need to be told apart."""
        said = f"tokenizer `{tokenizer.spec_name}`"
        if self.mask > 0 and tokenizer.mask_id is None:
            has = "mask" in type(tokenizer).model_fields
            fix = f"say `mask` in `tokenizer: {{type: {tokenizer.spec_name}, …}}`" if has else "choose another"
            return Fault(
                f"objective `masked` puts a mask token in place of others, and {said} has none", "tokenizer", fix
            )
        if self.whole_word and tokenizer.begins_word() is None:
            return Fault(
                f"`whole_word` needs a tokenizer whose tokens tell where a word begins; those of {said} do not",
                "objective.whole_word",
                "remove `whole_word`, or use a tokenizer with words (WordPiece, byte-level or SentencePiece)",
            )
        return None

    def change(self, tokenizer: Tokenizer) -> "Masking":
        """Choose tokens and hide them; their ids become the labels, all others are -100."""
        from blueprint_registry.objective._masking import Masking

        return Masking.of(self, tokenizer)

    def build(self, at: Site) -> "TokensObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective._tokens_nn import TokensObjective

        return TokensObjective(self)
