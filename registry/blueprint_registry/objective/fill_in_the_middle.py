"""Going on from a prefix and a suffix."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Tokenizer
from blueprint_registry.objective._predicting import Predicting

if TYPE_CHECKING:
    from blueprint_registry.objective._filling import Filling
    from blueprint_registry.objective._tokens_nn import TokensObjective


@register("fill_in_the_middle")
class FillInTheMiddle(Predicting):
    """Cross-entropy of every next token, of texts many of which have their middle last, so that a decoder learns to
    fill in what stands between two parts (Bavarian et al., 2022, §3).

    The first three sentinels of the tokenizer stand before prefix, suffix and middle. Each document in a sample is
    rearranged by a lot of its own (at the level of contexts: §3.2), its two cuts anywhere between tokens; what the
    three marks leave no room for is cut off the last document's end. Drawn anew every epoch, for validation always the
    same.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"next_token", "softmax"})
    models: ClassVar[frozenset[str]] = frozenset({"decoder"})
    beside: ClassVar[dict[str, Any]] = {"model.vocab_size": None, "tokenizer": {"type": "byte", "sentinels": 3}}

    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the documents that are rearranged (§4: half costs the left-to-right ability nothing)."""

    spm: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of these in which the suffix comes first and the prefix just before the middle (SPM, its second variant);
    in the others prefix, suffix, middle (PSM)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Half of each, and all of one."""
        return [{}, {"rate": 0.9, "spm": 0.0, "z_loss": 1e-4}]

    def fits(self, tokenizer: Tokenizer) -> Faults:
        """Three sentinels there must be."""
        count = len(tokenizer.sentinel_ids)
        if count >= 3:
            return None
        has = "sentinels" in type(tokenizer).model_fields
        return Fault(
            f"objective `{self.spec_name}` marks prefix, suffix and middle with sentinels, of which tokenizer "
            f"`{tokenizer.spec_name}` has {count}",
            "tokenizer",
            f"say `tokenizer: {{type: {tokenizer.spec_name}, sentinels: 3}}`" if has else "choose one with three",
        )

    def change(self, tokenizer: Tokenizer) -> "Filling":
        """Rearrange documents; labels follow."""
        from blueprint_registry.objective._filling import Filling

        pre, suf, mid = tokenizer.sentinel_ids[:3]
        return Filling((pre, suf, mid), getattr(tokenizer, "eos_id", None), self.rate, self.spm)

    def build(self, at: Site) -> "TokensObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective._tokens_nn import TokensObjective

        return TokensObjective(self)
