"""Going on from a prefix that is seen both ways."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from blueprint.component import register
from blueprint.kinds import Tokenizer
from blueprint_registry.objective._predicting import Writing

if TYPE_CHECKING:
    from blueprint_registry.objective._rewriting import Ends


@register("prefix")
class Prefix(Writing):
    """Cross-entropy of the rest of a text given its beginning, which the encoder reads and so sees both ways (prefix
    language modelling: Raffel et al., 2020, §3.2.3).

    Where a sample is parted is drawn anew every epoch, any place equally likely; for validation it is always the same.
    Ends of documents count as tokens. Held-out texts are scored as by `seq2seq`.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"next_token", "running", "softmax"})

    def change(self, tokenizer: Tokenizer) -> "Parting":
        """Part a text: what comes first becomes the source, the rest the target."""
        from blueprint_registry.objective._rewriting import Ends

        return Parting(Ends.of(self.start_id(tokenizer), tokenizer))


@dataclass(frozen=True)
class Parting:
    """Parts a sample in two by lot: `(arrays, word) -> arrays`, the same for the same word."""

    ends: "Ends"

    def __call__(self, arrays: dict[str, Any], word: str) -> dict[str, Any]:
        """input_ids and attention_mask, decoder_input_ids, decoder_attention_mask and labels, each (T,)."""
        from blueprint_registry.objective._lots import lots, uniform
        from blueprint_registry.objective._rewriting import paired, stream

        ids, width = stream(arrays), len(arrays["input_ids"])
        at = 1 + int(uniform(lots(f"parted {word}", 1))[0] * (len(ids) - 1))
        return paired(ids[:at], ids[at:], width, width, self.ends)
