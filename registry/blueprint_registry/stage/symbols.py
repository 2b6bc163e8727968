"""Not too many symbols."""

import unicodedata
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from blueprint.component import register
from blueprint.kinds import Document, Dropped, Stage


@register("symbols")
class Symbols(Stage):
    """Leaves out documents that are made of symbols rather than of words (after the rules of Rae et al., 2021, appendix
    A.1.1)."""

    most: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of the characters, white space aside, that are neither letters (with their accents) nor digits, at most."""

    worded: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the words that hold a letter, at least; Rae et al. ask for 0.8."""

    def each(self, document: Document, lot: str) -> Iterator[Document]:
        """The document as it is."""
        for text in document.texts:
            words = text.split()
            size = sum(map(len, words))
            symbols = sum(not (c.isalnum() or unicodedata.category(c)[0] == "M") for word in words for c in word)
            if symbols > self.most * size:
                raise Dropped(f"more than {self.most:g} of it symbols")
            if sum(any(map(str.isalpha, word)) for word in words) < self.worded * len(words):
                raise Dropped(f"fewer than {self.worded:g} of its words hold a letter")
        yield document
