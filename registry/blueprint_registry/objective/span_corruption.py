"""Writing what stood where spans of a text were taken out."""

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from blueprint.component import Fault, Faults, register
from blueprint.kinds import Tokenizer
from blueprint_registry.objective._predicting import Writing

if TYPE_CHECKING:
    from blueprint_registry.objective._spans import SpanCorrupting


@register("span_corruption")
class SpanCorruption(Writing):
    """Cross-entropy of the spans that were taken out of a text, given the text with a sentinel in place of each: the
    target is every sentinel and its span in turn, and one sentinel more (Raffel et al., 2020, §3.1.4 and figure 2).

    Of a sample's tokens `share` are taken out, in as many spans as `mean_length` makes of them; all choices of so many
    tokens in so many spans that do not touch are equally likely. They are drawn anew every epoch, for validation always
    the same. Held-out texts are scored as by `seq2seq`.
    """

    beside: ClassVar[dict[str, Any]] = {
        "model.type": "encoder_decoder",
        "model.vocab_size": None,
        "tokenizer": {"type": "byte", "sentinels": 16},
    }

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of a sample's tokens that are taken out, at least one."""

    mean_length: Annotated[float, Field(ge=1)] = 3.0
    """Tokens of a span, on average."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """T5's, and one that takes out half in long spans (UL2: Tay et al., 2023, §3.1.2)."""
        return [{}, {"share": 0.5, "mean_length": 32.0, "z_loss": 1e-4}]

    def fits(self, tokenizer: Tokenizer) -> Faults:
        """Ends there must be, and at least two sentinels."""
        if len(tokenizer.sentinel_ids) < 2:
            return Fault(
                f"objective `{self.spec_name}` marks places with sentinels, of which tokenizer "
                f"`{tokenizer.spec_name}` has {len(tokenizer.sentinel_ids)}",
                "tokenizer",
                _fix(tokenizer, 100),
            )
        return super().fits(tokenizer)

    def fits_length(self, tokenizer: Tokenizer, length: int, longest: int | None) -> Faults:
        """As many sentinels as a sample may have spans, and one more; targets that the model can write."""
        needed = 1 + max(counts(each, self.share, self.mean_length)[1] for each in range(length + 1))
        if needed > len(tokenizer.sentinel_ids):
            return Fault(
                f"samples of {length} tokens need {needed} sentinels, and tokenizer `{tokenizer.spec_name}` has "
                f"{len(tokenizer.sentinel_ids)}",
                "objective",
                _fix(tokenizer, needed),
            )
        _, target = widths(length, self.share, self.mean_length)
        if longest is not None and target > longest:
            return Fault(
                f"targets of {target} tokens do not fit the model's max_length {longest}",
                "objective",
                "say a smaller `share` or a larger `mean_length`, or a shorter `data.length`",
            )
        return None

    def change(self, tokenizer: Tokenizer) -> "SpanCorrupting":
        """Take spans out of a text: what is left becomes the source, the spans the target."""
        from blueprint_registry.objective._rewriting import Ends
        from blueprint_registry.objective._spans import SpanCorrupting

        ends = Ends.of(self.start_id(tokenizer), tokenizer)
        return SpanCorrupting(ends, tokenizer.sentinel_ids, self.share, self.mean_length)


def _fix(tokenizer: Tokenizer, count: int) -> str:
    if "sentinels" in type(tokenizer).model_fields:
        return f"say `sentinels: {count}` in `tokenizer`, or take out fewer and longer spans"
    return "choose a tokenizer with more, or take out fewer and longer spans"


def counts(length: int, share: float, mean_length: float) -> tuple[int, int]:
    """How many tokens of `length` are taken out, and in how many spans, which do not touch: at least one stays, and one
    goes where there are two."""
    if length < 2:
        return 0, 0
    noise = min(max(round(share * length), 1), length - 1)
    return noise, min(max(round(noise / mean_length), 1), noise, length - noise + 1)


@lru_cache(maxsize=64)
def widths(length: int, share: float, mean_length: float) -> tuple[int, int]:
    """The most tokens of a source and of a target, ends included, that samples of up to `length` tokens make."""
    found = [(each, *counts(each, share, mean_length)) for each in range(max(1, length - 1) + 1)]
    return max(n - noise + spans + 1 for n, noise, spans in found), max(noise + spans + 2 for _, noise, spans in found)
