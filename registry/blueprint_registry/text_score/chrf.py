"""Runs of characters in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import NonNegativeInt, PositiveInt

from blueprint.component import Site, register
from blueprint.kinds import TextScore

if TYPE_CHECKING:
    from blueprint_registry.text_score._counted import Counted


@register("chrf")
class Chrf(TextScore):
    """chrF: runs of characters in common with the wanted text, precision and recall in one, a mean over their lengths
    (Popović, 2015, eq. 1; counted by sacreBLEU: Post, 2018); kinder than BLEU to languages of many forms and to short
    texts. Needs the extra `scores`."""

    title: ClassVar[str] = "chrF"

    characters: PositiveInt = 6
    """Characters in the longest runs; white space does not count."""

    words: NonNegativeInt = 0
    """Words in the longest runs of words that count beside: 2 makes it chrF++ (Popović, 2017)."""

    beta: PositiveInt = 2
    """How many times as much recall weighs as precision."""

    lowercase: bool = False
    """Whether case does not count."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """chrF2; chrF++."""
        return [{}, {"words": 2}]

    def build(self, at: Site) -> Counted:
        """The function `(written, wanted) -> float`."""
        from blueprint_registry.text_score._counted import Counted

        said: dict[str, Any] = {"char_order": self.characters, "word_order": self.words, "beta": self.beta}
        return Counted("CHRF", **said, lowercase=self.lowercase)
