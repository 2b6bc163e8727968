"""Unigram language model pieces."""

from typing import Annotated, Any

from pydantic import Field, PositiveInt

from blueprint.component import register
from blueprint_registry.tokenizer._spaces import spaced
from blueprint_registry.tokenizer._trained import Trained

#: Places of a log probability that are kept: sums that were taken in another order differ in the tenth.
_PLACES = 4
#: By how much the library raises the score of each further character that is in no piece.
_STEP = 0.0001


@register("unigram")
class Unigram(Trained):
    """Pieces with a probability each, of which a word takes the likeliest row; from very many, those that a text misses
    least are dropped again and again (Kudo, 2018, §3.2). A word carries the space before it as `▁`."""

    unk: str = "<unk>"
    """What stands for a character that the training documents do not have."""

    longest: Annotated[int, Field(ge=2)] = 16
    """Characters of a piece at most."""

    shrink: Annotated[float, Field(gt=0, lt=1)] = 0.75
    """Share of the pieces that stay each time."""

    rounds: PositiveInt = 2
    """Steps of expectation and maximisation between."""

    def begun(self, tokenizers: Any) -> tuple[Any, Any]:
        """No piece yet."""
        trainer = tokenizers.trainers.UnigramTrainer(
            vocab_size=self.size,
            special_tokens=self.specials,
            unk_token=self.unk,
            max_piece_length=self.longest,
            shrinking_factor=self.shrink,
            n_sub_iterations=self.rounds,
            show_progress=False,
        )
        return tokenizers.models.Unigram(), trainer

    def cut(self, tokenizers: Any) -> tuple[Any, Any]:
        """Words with the space before them."""
        return spaced(tokenizers)

    def settle(self, said: dict[str, Any]) -> None:
        """Probabilities are rounded, and pieces sorted by them, so that the order in which the library summed and met
        them does not show. Characters in no piece were given the lowest score and a little more each, in the order
        they were met: all take the lowest."""
        first, pieces = said["model"]["vocab"][: len(self.specials)], said["model"]["vocab"][len(self.specials) :]
        low = min((score for _, score in pieces), default=0.0)
        same, at = set[str](), 0
        for piece, score in sorted(pieces, key=lambda each: float(each[1])):
            if len(piece) == 1:
                steps = (score - low) / _STEP
                if round(steps) > at or abs(steps - round(steps)) > 0.01:
                    break
                same.add(piece)
                at = round(steps) + 1
        rounded = [[piece, round(low if piece in same else score, _PLACES)] for piece, score in pieces]
        said["model"]["vocab"] = first + sorted(rounded, key=lambda each: (-each[1], each[0]))

    def rejoined(self, text: str) -> str:
        """A text without the first of the spaces before it."""
        return text.replace("▁", " ").removeprefix(" ")
