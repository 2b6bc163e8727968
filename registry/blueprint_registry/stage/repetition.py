"""Not the same over and over."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, PositiveInt

from blueprint.component import register
from blueprint.kinds import Document, Dropped, Stage


@register("repetition")
class Repetition(Stage):
    """Leaves out documents that say the same over and over (Rae et al., 2021, table A1)."""

    lines: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Share of the lines that have stood before in the document, at most; blank ones do not count."""

    most: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of the characters of all words that the most frequent run of words takes, at most."""

    words: PositiveInt = 2
    """Words in such a run."""

    def each(self, document: Document, lot: str) -> Iterator[Document]:
        """The document as it is."""
        for text in document.texts:
            lines = [line for line in map(str.strip, text.splitlines()) if line]
            if len(lines) - len(set(lines)) > self.lines * len(lines):
                raise Dropped(f"more than {self.lines:g} of its lines repeated")
            words = text.split()
            runs = Counter(zip(*(words[at:] for at in range(self.words)), strict=False))
            run, times = max(runs.items(), key=lambda each: each[1] * sum(map(len, each[0])), default=((), 0))
            if times > 1 and times * sum(map(len, run)) > self.most * sum(map(len, words)):
                raise Dropped(f"one run of {self.words} words takes more than {self.most:g} of it")
        yield document
