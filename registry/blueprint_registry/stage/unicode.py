"""One way of writing each character."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from blueprint.component import register
from blueprint.kinds import Document, Dropped, Stage

#: Characters that print nothing and are no white space.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff]")


@register("unicode")
class Unicode(Stage):
    """One way of writing each character: a normalisation form of Unicode (https://www.unicode.org/reports/tr15/), line
    ends as `\\n`, and no control characters."""

    form: Literal["NFC", "NFD", "NFKC", "NFKD"] = "NFC"
    """C composes accents with their letters, D takes them apart; with K, what only looks different becomes the same."""

    spaces: Literal["keep", "squeeze"] = "keep"
    """`squeeze` makes one space of each run of them, and one blank line of several, and cuts them off at both ends."""

    def each(self, document: Document, lot: str) -> Iterator[Document]:
        """The document so written."""
        texts = tuple(map(self._written, document.texts))
        if not all(text.strip() for text in texts):
            raise Dropped("no text")
        yield replace(document, texts=texts)

    def _written(self, text: str) -> str:
        text = _CONTROLS.sub("", unicodedata.normalize(self.form, text.replace("\r\n", "\n").replace("\r", "\n")))
        if self.spaces == "squeeze":
            lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in text.split("\n"))
            text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
        return text
