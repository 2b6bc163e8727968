"""Going on from a prefix that a decoder sees both ways."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from blueprint.component import Site, register
from blueprint.kinds import Tokenizer
from blueprint_registry.objective._predicting import Predicting

if TYPE_CHECKING:
    from blueprint_registry.objective._tokens_nn import TokensObjective

IGNORED = -100


@register("prefix_lm")
class PrefixLm(Predicting):
    """Cross-entropy of every token after a prefix, given those before it, where a decoder's tokens of the prefix see
    each other both ways (Raffel et al., 2020, §3.2.3, figure 4; Dong et al., 2019, §2.2): `prefix` without an encoder.

    Where a sample is parted is drawn anew every epoch, any place equally likely; for validation it is always the same.
    Documents of a window are parted together: those before that place are all prefix, those after it have none. A model
    trained so reads prompts as prefixes when it writes.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"next_token", "running", "prefixes"})
    models: ClassVar[frozenset[str]] = frozenset({"decoder"})

    def change(self, tokenizer: Tokenizer) -> "Prefixing":
        """Draw the length of the prefix; its tokens are not to be told."""
        return Prefixing()

    def build(self, at: Site) -> "TokensObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective._tokens_nn import TokensObjective

        return TokensObjective(self)


@dataclass(frozen=True)
class Prefixing:
    """Parts a sample in two by lot: `(arrays, word) -> arrays`, the same for the same word."""

    def __call__(self, arrays: dict[str, Any], word: str) -> dict[str, Any]:
        """The arrays with `prefix_length` (), from 1 to all tokens, and `labels` (T,) of those after it alone."""
        import numpy as np

        from blueprint_registry.objective._lots import lots, uniform

        kept = np.flatnonzero(arrays.get("attention_mask", np.ones(len(arrays["input_ids"]))))
        length = 1 + int(uniform(lots(f"prefixed {word}", 1))[0] * max(1, len(kept)))
        labels = arrays["labels"].copy()
        labels[kept[: length - 1]] = IGNORED
        return {**arrays, "labels": labels, "prefix_length": np.array(length, dtype=np.int64)}
