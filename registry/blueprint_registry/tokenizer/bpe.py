"""Byte-pair encoding over characters."""

from typing import Any, Literal

from pydantic import PositiveInt

from blueprint.component import register
from blueprint_registry.tokenizer._spaces import spaced
from blueprint_registry.tokenizer._trained import Trained


@register("bpe")
class Bpe(Trained):
    """Byte-pair encoding: from single characters, the pair that is most frequent inside words is joined again and again
    (Sennrich et al., 2016, §3.2). A word carries the space before it as `▁` (Kudo & Richardson, 2018, §3.1)."""

    unk: str = "<unk>"
    """What stands for a character that the training documents do not have."""

    split: Literal["spaces", "whitespace", "words"] = "spaces"
    """Where words end: `spaces` cuts before each space and loses none; `whitespace` cuts at any white space, `words`
    between letters and punctuation too, and both write a single space between words again."""

    min_frequency: PositiveInt = 2
    """How often a pair occurs at least to be joined."""

    def begun(self, tokenizers: Any) -> tuple[Any, Any]:
        """Byte pairs without any."""
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=self.size,
            min_frequency=self.min_frequency,
            special_tokens=self.specials,
            show_progress=False,
        )
        return tokenizers.models.BPE(unk_token=self.unk), trainer

    def cut(self, tokenizers: Any) -> tuple[Any, Any]:
        """Words with the space before them."""
        before = {"spaces": None, "whitespace": "WhitespaceSplit", "words": "Whitespace"}[self.split]
        return spaced(tokenizers, before)

    def rejoined(self, text: str) -> str:
        """A text with the words that `split` finds apart; `spaces` loses the first of the spaces before a text."""
        if self.split == "spaces":
            return text.replace("▁", " ").removeprefix(" ")
        made = self.runner().pre_tokenizer
        return "".join(word for word, _ in made.pre_tokenize_str(text)).replace("▁", " ").removeprefix(" ")
