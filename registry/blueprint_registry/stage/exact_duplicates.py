"""Each text once."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal

from blueprint.component import register
from blueprint.kinds import Document, Dropped, Stage


@register("exact_duplicates")
class ExactDuplicates(Stage):
    """Leaves out documents that came before, by a hash of each (Lee et al., 2022, §4)."""

    traits: ClassVar[frozenset[str]] = frozenset({"compares"})

    ignore: Literal["nothing", "case_and_space", "signs"] = "nothing"
    """What does not tell two texts apart; `signs` are all characters but letters and digits, and case: `_Open…` is
    `Open`. Texts of signs alone are compared as they are."""

    compare: Literal["whole", "input"] = "whole"
    """`input` compares what is read alone, without what is to be said of it (a pair's target, a label): each input then
    stays once, so that none that is held out occurs in training, in whatever group it came."""

    def over(self, documents: Iterable[Document]) -> Iterator[Document | Dropped]:
        """Each document that is the first of its kind; 16 bytes are kept of each."""
        seen = set[bytes]()
        for document in documents:
            digest = hashlib.blake2b(digest_size=16)
            parts = (*document.texts, document.label or "") if self.compare == "whole" else document.texts[:1]
            for part in parts:
                data = self._told(part).encode(errors="replace")
                digest.update(len(data).to_bytes(8, "little") + data)
            if digest.digest() in seen:
                yield Dropped("the same as an earlier one")
            else:
                seen.add(digest.digest())
                yield document

    def _told(self, text: str) -> str:
        """What tells a text from others."""
        if self.ignore == "signs":
            return "".join(filter(str.isalnum, text.casefold())) or text
        return " ".join(text.casefold().split()) if self.ignore == "case_and_space" else text
