"""Whole words, cut by rule."""

from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from blueprint.component import Fault, Faults, register, rule
from blueprint_registry.tokenizer._trained import Trained


@register("words")
class Words(Trained):
    """Words cut by rule, of which the most frequent have an id each, all others none (as Bengio et al., 2003, §4)."""

    unk: str = "<unk>"
    """What stands for a word without an id."""

    split: Literal["words", "whitespace", "pattern"] = "words"
    """What a word is: `words`, letters and digits or signs, apart from each other; `whitespace`, what lies between
    white space; `pattern`, what the regular expression finds."""

    pattern: str | None = None
    """A regular expression whose matches are the words; what lies between is left out."""

    min_frequency: PositiveInt = 1
    """How often a word occurs at least to have an id."""

    _CUTS: ClassVar[dict[str, str]] = {"words": "Whitespace", "whitespace": "WhitespaceSplit"}

    @rule("split", "pattern")
    def _pattern_where_asked_for(split: str, pattern: str | None) -> Faults:
        if split == "pattern" and not pattern:
            return Fault("`split: pattern` needs a `pattern`", "pattern", r"say `pattern: '\w+'` or so")
        if split != "pattern" and pattern is not None:
            return Fault(f"`pattern` does nothing with `split: {split}`", "pattern", "say `split: pattern`")
        return None

    def begun(self, tokenizers: Any) -> tuple[Any, Any]:
        """No word yet."""
        trainer = tokenizers.trainers.WordLevelTrainer(
            vocab_size=self.size,
            min_frequency=self.min_frequency,
            special_tokens=self.specials,
            show_progress=False,
        )
        return tokenizers.models.WordLevel(unk_token=self.unk), trainer

    def cut(self, tokenizers: Any) -> tuple[Any, Any]:
        """Words."""
        cuts = tokenizers.pre_tokenizers
        if self.pattern is None:
            return getattr(cuts, self._CUTS[self.split])(), None
        return cuts.Split(tokenizers.Regex(self.pattern), "removed", invert=True), None

    def begins_word(self) -> Any:
        """(vocab_size,) all true: every token is a word."""
        import numpy as np

        return np.ones(self.size, dtype=np.bool_)

    def rejoined(self, text: str) -> str:
        """The words of a text, a space between them."""
        return " ".join(word for word, _ in self.runner().pre_tokenizer.pre_tokenize_str(text))
