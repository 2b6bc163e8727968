"""Long documents in pieces."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import NonNegativeInt, PositiveInt

from blueprint.component import Fault, Faults, register, rule
from blueprint.kinds import Document, Stage

_WORD = re.compile(r"\S+")


@register("chunk")
class Chunk(Stage):
    """Cuts long texts into pieces that overlap and never split a word (as passages for retrieval are cut: Karpukhin et
    al., 2020, §4.1). All pieces of a document go to the same side of the split."""

    takes: ClassVar[frozenset[str]] = frozenset({"text", "labelled", "multi_labelled", "scored"})
    divides: ClassVar[bool] = True

    length: PositiveInt = 4000
    """Characters in a piece at most; a longer word is a piece of its own."""

    overlap: NonNegativeInt = 0
    """Characters at most, of whole words, that a piece repeats of the end of the one before it."""

    @rule("length", "overlap")
    def _goes_on(length: int, overlap: int) -> Faults:
        if overlap >= length:
            return Fault(f"pieces of {length} characters that repeat {overlap} would never go on", "overlap")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """With overlap."""
        return [{"length": 2000, "overlap": 200}]

    def each(self, document: Document, lot: str) -> Iterator[Document]:
        """The pieces, each with the white space inside it; a short document as it is."""
        text = document.texts[0]
        if len(text) <= self.length:
            yield document
            return
        for number, (start, stop) in enumerate(self._pieces([match.span() for match in _WORD.finditer(text)]), 1):
            yield replace(document, name=f"{document.name} (piece {number})", texts=(text[start:stop],))

    def _pieces(self, words: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """(start, stop) in the text of every piece, from the words' own."""
        first = 0
        while first < len(words):
            last = first
            while last + 1 < len(words) and words[last + 1][1] - words[first][0] <= self.length:
                last += 1
            start, stop = words[first][0], words[last][1]
            yield start, stop
            following = last + 1
            if following == len(words):
                return
            # Go back by whole words, as far as the next new one still fits.
            first = following
            while (
                first - 1 > 0
                and words[first - 1][0] > start
                and stop - words[first - 1][0] <= self.overlap
                and words[following][1] - words[first - 1][0] <= self.length
            ):
                first -= 1
