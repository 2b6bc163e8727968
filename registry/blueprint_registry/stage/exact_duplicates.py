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

    ignore: Literal["nothing", "case_and_space"] = "nothing"
    """What does not tell two texts apart."""

    def over(self, documents: Iterable[Document]) -> Iterator[Document | Dropped]:
        """Each document that is the first of its kind; 16 bytes are kept of each."""
        seen = set[bytes]()
        for document in documents:
            digest = hashlib.blake2b(digest_size=16)
            for part in (*document.texts, document.label or ""):
                said = " ".join(part.casefold().split()) if self.ignore == "case_and_space" else part
                data = said.encode(errors="replace")
                digest.update(len(data).to_bytes(8, "little") + data)
            if digest.digest() in seen:
                yield Dropped("the same as an earlier one")
            else:
                seen.add(digest.digest())
                yield document
