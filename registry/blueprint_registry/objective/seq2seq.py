"""Writing a target text for a source text."""

from typing import Any, ClassVar

from blueprint.component import register
from blueprint.kinds import Tokenizer
from blueprint_registry.objective._predicting import Writing


@register("seq2seq")
class Seq2seq(Writing):
    """Cross-entropy of every token of the target, its end included, given the source and the target's tokens before it
    (teacher forcing: Sutskever et al., 2014, §2; Vaswani et al., 2017, §3.1), a mean over tokens in nats.

    Held-out pairs are scored by the share of right tokens (`accuracy`) and of targets that are right throughout
    (`exact_match`: those that greedy decoding writes). Smoothing, z-loss and the losses of the model's parts act in
    training alone.
    """

    samples: ClassVar[frozenset[str]] = frozenset({"pairs"})

    def cut(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Which id the decoder starts with."""
        return {"start_id": self.start_id(tokenizer)}
