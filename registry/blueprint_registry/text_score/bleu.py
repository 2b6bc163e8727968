"""Runs of words in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from blueprint.component import Site, register
from blueprint.kinds import TextScore

if TYPE_CHECKING:
    from blueprint_registry.text_score._counted import Counted


@register("bleu")
class Bleu(TextScore):
    """BLEU: the share of runs of one to four words that are also in the wanted text, a geometric mean over all texts
    together, less where too little is written (Papineni et al., 2002, §2.3; counted by sacreBLEU: Post, 2018).
    Needs the extra `scores`."""

    title: ClassVar[str] = "BLEU"

    tokens: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    """What a word is: as WMT's mteval-v13a cuts them, the same for all scripts, Chinese characters singly, every
    character, or what stands between white space."""

    lowercase: bool = False
    """Whether case does not count."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """As WMT reports it; for Chinese."""
        return [{}, {"tokens": "zh", "lowercase": True}]

    def build(self, at: Site) -> Counted:
        """The function `(written, wanted) -> float`."""
        from blueprint_registry.text_score._counted import Counted

        # It would warn of texts that look cut already: signs with spaces around them may well be what was written.
        return Counted("BLEU", tokenize=self.tokens, lowercase=self.lowercase, force=True)
