"""Documents on disk, a line of JSON each: name, texts, label, group, whether it is only learned from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from blueprint.kinds import Document


class Spool(Iterable[Document]):
    """The documents of a file, again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Document]:
        with open(self.path, encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            for each in file:
                name, texts, label, group, only_train = json.loads(each)
                yield Document(name, tuple(texts), label, group, only_train)


def line(document: Document) -> bytes:
    """A document as its line."""
    said = [document.name, document.texts, document.label, document.group, document.only_train]
    return (json.dumps(said, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
