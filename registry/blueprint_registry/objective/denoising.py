"""Writing a spoilt text back whole."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from blueprint.component import Fault, Faults, register, rule
from blueprint.kinds import Tokenizer
from blueprint_registry.objective._predicting import Writing

if TYPE_CHECKING:
    from blueprint_registry.objective._spoiling import Spoiling

Share = Annotated[float, Field(ge=0, le=1)]


@register("denoising")
class Denoising(Writing):
    """Cross-entropy of a whole text given what noise left of it (BART: Lewis et al., 2020, §2.2).

    Four kinds of noise, in this order, each as far as it is said: sentences permuted, spans infilled with one mask
    each, tokens deleted, the text rotated. By default BART's: all sentences permuted, and 30 % of the tokens in spans
    (§5.1). The noise is drawn anew every epoch, for validation always the same. Held-out texts are scored as by
    `seq2seq`.
    """

    beside: ClassVar[dict[str, Any]] = {
        "model.type": "encoder_decoder",
        "model.vocab_size": None,
        "tokenizer": {"type": "byte", "mask": True},
    }

    infill: Share = 0.3
    """Share of the tokens that lie in spans of which each is replaced by one mask."""

    mean_length: Annotated[float, Field(ge=1)] = 3.0
    """Mean of the Poisson distribution that the spans' lengths are drawn from; a span of no tokens puts a mask in."""

    permute: Share = 1.0
    """Share of the sentences that change places among themselves; a sentence ends with its full stops."""

    delete: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the tokens that are left out, so that the model has to tell where."""

    rotate: Share = 0.0
    """Share of the texts that begin with any of their tokens, what stood before it following at the end."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """BART's, and each other kind of noise."""
        return [{}, {"infill": 0.0, "permute": 0.5, "delete": 0.15, "rotate": 0.5, "label_smoothing": 0.1}]

    @rule("infill", "permute", "delete", "rotate")
    def _noise(*shares: float) -> Faults:
        if not any(shares):
            what = "there is no noise: the model would learn to copy"
            return Fault(what, "infill", "say a share of `infill`, `permute`, `delete` or `rotate`")
        return None

    @rule("mean_length", "infill")
    def _spans(mean_length: float, infill: float) -> Faults:
        if mean_length != 3.0 and not infill:
            return Fault("`mean_length` is of spans, of which `infill: 0` leaves none", "mean_length", "remove it")
        return None

    def fits(self, tokenizer: Tokenizer) -> Faults:
        """Ends there must be, a mask to fill in, and a full stop to tell sentences by."""
        said = f"tokenizer `{tokenizer.spec_name}`"
        if self.infill and tokenizer.mask_id is None:
            has = "mask" in type(tokenizer).model_fields
            fix = f"say `mask` in `tokenizer: {{type: {tokenizer.spec_name}, …}}`" if has else "choose another"
            what = f"objective `denoising` puts a mask token in place of spans, and {said} has none"
            return Fault(what, "tokenizer", fix)
        return super().fits(tokenizer)

    def change(self, tokenizer: Tokenizer) -> "Spoiling":
        """Spoil a text: what is left becomes the source, the text the target."""
        from blueprint_registry.objective._rewriting import Ends
        from blueprint_registry.objective._spoiling import Spoiling

        stop = tokenizer.encode(".").tolist() if self.permute else []
        ends = Ends.of(self.start_id(tokenizer), tokenizer)
        return Spoiling(self, ends, tokenizer.mask_id, stop[-1] if stop else -1)
