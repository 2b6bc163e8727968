"""WordPiece."""

from collections.abc import Iterable
from typing import Any

from pydantic import PositiveInt

from blueprint.component import register
from blueprint_registry.tokenizer._trained import Trained

#: What marks a piece that goes on with a word.
_GOES_ON = "##"
#: Longer words are unknown.
_LONGEST = 1000


@register("wordpiece")
class Wordpiece(Trained):
    """WordPiece: a word is cut into the longest pieces known, from its beginning, and those that go on with it are
    marked `##` (Wu et al., 2016, §4.1; Devlin et al., 2019, §3).

    Words end at white space, and every punctuation mark is one. Pieces are learned by joining the most frequent pairs.
    """

    pad: str | None = "[PAD]"
    """What fills up short samples; null for none."""

    unk: str = "[UNK]"
    """What stands for a word with a character that the training documents do not have."""

    cls: str | None = "[CLS]"
    """What a model reads a whole sentence at, where the template puts it; null for none."""

    sep: str | None = "[SEP]"
    """What ends such a sentence, where the template puts it; null for none."""

    mask: str | None = "[MASK]"
    """What stands for a token that is to be told, as the objective `masked` needs; null for none."""

    eos: str | None = "[SEP]"
    """What ends a text, put after every document; null for none."""

    min_frequency: PositiveInt = 2
    """How often a pair occurs at least to be joined."""

    def begun(self, tokenizers: Any) -> tuple[Any, Any]:
        """No piece yet."""
        return self._model(tokenizers), self._trainer(tokenizers, self.size, self.specials)

    def _model(self, tokenizers: Any) -> Any:
        model = tokenizers.models.WordPiece(unk_token=self.unk, max_input_chars_per_word=_LONGEST)
        model.continuing_subword_prefix = _GOES_ON
        return model

    def _trainer(self, tokenizers: Any, size: int, first: list[str]) -> Any:
        return tokenizers.trainers.WordPieceTrainer(
            vocab_size=size,
            min_frequency=self.min_frequency,
            special_tokens=first,
            continuing_subword_prefix=_GOES_ON,
            show_progress=False,
        )

    def cut(self, tokenizers: Any) -> tuple[Any, Any]:
        """Words and punctuation marks."""
        return tokenizers.pre_tokenizers.BertPreTokenizer(), tokenizers.decoders.WordPiece(_GOES_ON, cleanup=False)

    def taught(self, made: Any, trainer: Any, texts: Iterable[str]) -> None:
        """Train twice: first to know all characters that go on with a word, which the library else meets, and numbers,
        in an order that changes from one time to the next."""
        import tokenizers

        made.train_from_iterator(iter(texts), self._trainer(tokenizers, 1, self.specials))
        going_on = sorted(token for token in made.get_vocab() if token not in self.specials and len(token) > 1)
        made.model = self._model(tokenizers)
        made.train_from_iterator(iter(texts), self._trainer(tokenizers, self.size, [*self.specials, *going_on]))

    def settle(self, said: dict[str, Any]) -> None:
        """Only the special tokens are special."""
        said["added_tokens"] = [each for each in said["added_tokens"] if each["content"] in self.specials]

    def rejoined(self, text: str) -> str:
        """The words and punctuation marks of a text, a space between them."""
        return " ".join(word for word, _ in self.runner().pre_tokenizer.pre_tokenize_str(text))
