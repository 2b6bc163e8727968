"""Each text once.

Legend: N documents.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal

import numpy as np

from blueprint.component import register
from blueprint.kinds import Document, Dropped, Stage

#: Documents that are compared at once.
_BLOCK = 1 << 16


@register("exact_duplicates")
class ExactDuplicates(Stage):
    """Leaves out documents that came before, by a hash of each (Lee et al., 2022, §4). About thirty bytes of memory a
    document."""

    traits: ClassVar[frozenset[str]] = frozenset({"compares"})

    ignore: Literal["nothing", "case_and_space", "signs"] = "nothing"
    """What does not tell two texts apart; `signs` are all characters but letters and digits, and case: `_Open…` is
    `Open`. Texts of signs alone are compared as they are."""

    compare: Literal["whole", "input"] = "whole"
    """`input` compares what is read alone, without what is to be said of it (a pair's target, a label): each input then
    stays once, so that none that is held out occurs in training, in whatever group it came."""

    def sketch(self, document: Document) -> bytes:
        """A hash of what is compared."""
        digest = hashlib.blake2b(digest_size=self.sketch_size)
        parts = (*document.texts, document.label or "") if self.compare == "whole" else document.texts[:1]
        for part in parts:
            data = self._told(part).encode(errors="replace")
            digest.update(len(data).to_bytes(8, "little") + data)
        return digest.digest()

    @property
    def sketch_size(self) -> int:
        """128 bits."""
        return 16

    def over(self, documents: Iterable[Document], sketches: Iterable[bytes]) -> Iterator[Document | Dropped]:
        """Each document that is the first of its kind."""
        found = bytearray()
        for sketch in sketches:
            found += sketch
        halves_N2 = np.frombuffer(found, dtype=np.uint64).reshape(-1, 2)
        # Sorted, equal ones lie side by side, those that came before first.
        order_N = np.argsort(halves_N2[:, 0], kind="stable")
        again_N = np.zeros(len(order_N), dtype=np.bool_)
        for at in range(0, len(order_N), _BLOCK):
            block = order_N[at : at + _BLOCK + 1]
            same = (halves_N2[block[1:]] == halves_N2[block[:-1]]).all(axis=1)
            again_N[block[1:][same]] = True
        del order_N, halves_N2, found
        for document, again in zip(documents, again_N, strict=True):
            yield Dropped("the same as an earlier one") if again else document

    def _told(self, text: str) -> str:
        """What tells a text from others."""
        if self.ignore == "signs":
            return "".join(filter(str.isalnum, text.casefold())) or text
        return " ".join(text.casefold().split()) if self.ignore == "case_and_space" else text
