"""What stages share that make further documents of one, to learn from alone."""

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt

from blueprint.kinds import Document, Stage

#: Words, and the white space between them.
_PARTS = re.compile(r"(\s+)")


class Copies(Stage):
    """Adds changed copies of each document, to be learned from and never measured on: a copy of what is held out is
    nowhere."""

    divides: ClassVar[bool] = True
    settles: ClassVar[bool] = False

    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The chance of each word to be changed."""

    copies: PositiveInt = 1
    """Changed copies of a document, each by lots of its own, beside the document as it is."""

    def each(self, document: Document, lot: str) -> Iterator[Document]:
        """The document, and its copies as far as they differ; of a pair, the source is changed."""
        yield document
        if document.only_train:
            return
        text, *others = document.texts
        seen = {text}
        for number in range(1, self.copies + 1):
            drawn = random.Random(f"{lot} {number}")
            changed = self.changed(_PARTS.split(text), drawn)
            if changed.strip() and changed not in seen:
                seen.add(changed)
                name = f"{document.name} ({self.spec_name} {number})"
                yield replace(document, name=name, texts=(changed, *others), only_train=True)

    def changed(self, parts: list[str], drawn: random.Random) -> str:
        """A text, given as its words and the white space between them in turn, with some words changed."""
        raise TypeError(f"stage `{self.spec_name}` changes nothing")
