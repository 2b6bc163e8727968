"""The kinds of what a model learns from: tokenizers, sources of documents and what is done to them; scores of texts.

They are spoken of as `blueprint.kinds`, beside the parts of models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, ClassVar

from blueprint.component import Component

if TYPE_CHECKING:
    import numpy as np


class Tokenizer(Component, kind="tokenizer"):
    """Text to ids and back. Object: `encode(text)`, `decode(ids)`, `vocab_size`, `eos_id`, `fingerprint`.

    One that learns from the training documents says in `learned` which field then names the file that `train` gives the
    text of; until then it is `untrained`: its sizes and the ids of its special tokens are known, and nothing else.
    """

    formulas: ClassVar[bool] = False

    beside: ClassVar[dict[str, Any]] = {"model.vocab_size": None}
    #: The fields that name files it cannot do without: runs, builds and checkpoints keep copies of them.
    kept: ClassVar[tuple[str, ...]] = ()
    #: The field that names a tokenizer's file, and what pretrained models call that file; None: there is no such.
    reads: ClassVar[tuple[str, str] | None] = None
    #: The field that names the file it was trained into; None: there is nothing to learn.
    learned: ClassVar[str | None] = None

    @property
    def vocab_size(self) -> int | None:
        """How many ids there are, where that is known without data."""
        return None

    @property
    def counted(self) -> str:
        """What says how many ids there are, in words."""
        return "its type"

    @property
    def known(self) -> int | None:
        """How many of the ids stand for something: all, unless training found less to learn."""
        return self.vocab_size

    @property
    def mask_id(self) -> int | None:
        """The id that stands for a token that is to be told, if there is one."""
        return None

    @property
    def pad_id(self) -> int | None:
        """The id that fills up short samples, if there is one of its own."""
        return None

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids that stand for no text, in order."""
        return ()

    @property
    def sentinel_ids(self) -> tuple[int, ...]:
        """Ids that stand for no text and that objectives give a meaning, in order: T5's `<extra_id_0>`, …"""
        found = (self.id_of(f"<extra_id_{number}>") for number in range(self.vocab_size or 0))
        return tuple(each for each in takewhile(lambda one: one is not None, found) if each is not None)

    def id_of(self, token: str) -> int | None:
        """The id of a token that is spelt so, special ones among them; None where there is none."""
        return None

    def begins_word(self) -> np.ndarray[Any, Any] | None:
        """(vocab_size,) bool: whether a token begins a word, or None where the ids do not tell.

        Raises `NotKnown` where only training will tell.
        """
        return None

    @property
    def untrained(self) -> bool:
        """Whether it has yet to learn what it writes."""
        return self.learned is not None and getattr(self, self.learned) is None

    def train(self, texts: Iterable[str]) -> str:
        """The text of the file that it learns from texts, which may be read more than once; raises ValueError."""
        raise TypeError(f"tokenizer `{self.spec_name}` learns nothing")

    def encode(self, text: str) -> np.ndarray[Any, Any]:
        """The ids of a text."""
        raise TypeError(f"tokenizer `{self.spec_name}` does not encode")

    def document(self, text: str) -> np.ndarray[Any, Any]:
        """The ids of a whole text as it is learned from, without its end: with what a template puts around it."""
        return self.encode(text)

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray[Any, Any]]:
        """What `encode` gives for each of many texts."""
        return [self.encode(text) for text in texts]

    def document_all(self, texts: Sequence[str]) -> list[np.ndarray[Any, Any]]:
        """What `document` gives for each of many texts."""
        return [self.document(text) for text in texts]

    def words(self, words: Sequence[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The ids of a document of words with a space between each two, and the number of the word that each is of,
        from 0: -1 for what is of none. One that cuts no text at spaces but writes across them says otherwise."""
        import numpy as np

        parts = [np.asarray(self.encode(f" {word}" if number else word)) for number, word in enumerate(words)]
        numbers = [np.full(len(part), number) for number, part in enumerate(parts)]
        return np.concatenate(parts), np.concatenate(numbers)

    def prompt(self, text: str) -> np.ndarray[Any, Any]:
        """The ids of a text that is to be gone on with: with what a template puts before it."""
        return self.encode(text)

    @property
    def framed(self) -> bool:
        """Whether a template puts anything around a text."""
        return False

    def normal(self, text: str) -> str:
        """What comes back of a text whose every part is known: all of it, unless the tokenizer says otherwise."""
        return text

    def exported(self) -> dict[str, str]:
        """The files by which other libraries open it, their texts by their names."""
        return {}


class DataSource(Component, kind="source"):
    """Where documents come from. One that can tell without reading whether they are still the same, and still read in
    the same way, has a method `fingerprint() -> str | None`; None where it cannot tell after all.
    """

    formulas: ClassVar[bool] = False

    #: What kind of samples its documents make; an objective reads some of them.
    gives: ClassVar[str] = "text"

    def documents(self) -> Iterator[tuple[str, Any]]:
        """Every document as (name, content), in an order that is always the same.

        The content is what `gives` says: `text`, a str; `pairs`, (source, target), two of them; `labelled`,
        (text, label); `multi_labelled`, (text, labels); `tagged`, (words, labels), as many; `scored`, (text, number),
        the number as it is written; `images`, (pixels, label), the pixels as bytes in the order channel, row, column;
        `captioned`, (pixels, (texts, label)), the label None where there are no classes.
        """
        raise TypeError(f"source `{self.spec_name}` gives no documents")

    def group(self, name: str) -> str | None:
        """What the document of that name is a part of: all of that is held out, or none. None: its own text decides."""
        return None

    def classes(self, *, read: bool = False) -> list[str] | None:
        """The names of the labels, in the order of their numbers; None where there are none, or where they are known
        only once the documents are `read`."""
        return None

    def prompts(self) -> list[list[str]] | None:
        """Texts that tell of each label, as many of each, in the order of their numbers; None where there are none."""
        return None


@dataclass(frozen=True, slots=True)
class Document:
    """A document on its way from a source to samples."""

    name: str
    #: The text; of a pair, its source and its target.
    texts: tuple[str, ...]
    label: str | None = None
    #: Documents of one group go to the same side of the split; None: the document's own text decides.
    group: str | None = None
    #: Whether it is made up out of another, so that nothing is measured on it.
    only_train: bool = False


class Dropped(Exception):
    """A document that a stage leaves out; the message says why, in words that many such documents share."""


class Stage(Component, kind="stage"):
    """What is done to a source's documents before samples are cut from them, once for a content and its settings.

    A stage either looks at each document alone (`each`), or compares them (`over`, of those with the trait `compares`).
    """

    formulas: ClassVar[bool] = False
    beside: ClassVar[dict[str, Any]] = {"data.source": "stdlib"}

    #: The kinds of samples (`DataSource.gives`) it works on.
    takes: ClassVar[frozenset[str]] = frozenset({"text", "pairs", "labelled", "multi_labelled", "scored"})
    #: Whether it makes several documents of one, which then are a group.
    divides: ClassVar[bool] = False
    #: Whether all is done once it is done: a second time right after does nothing.
    settles: ClassVar[bool] = True

    def each(self, document: Document, lot: str) -> Iterator[Document]:
        """What becomes of one document; raises `Dropped` where nothing does. What it draws it draws from `lot` alone, a
        word that tells seed, stage and document. It runs in processes of its own."""
        raise TypeError(f"stage `{self.spec_name}` does nothing")

    def sketch(self, document: Document) -> bytes:
        """What `over` has to know of a document before: `sketch_size` bytes, worked out in processes of their own."""
        return b""

    @property
    def sketch_size(self) -> int:
        """Bytes of each sketch; 0: there are none."""
        return 0

    def over(self, documents: Iterable[Document], sketches: Iterable[bytes]) -> Iterator[Document | Dropped]:
        """For every document, in order, what becomes of it; `documents` can be read more than once and do not fit in
        memory, the `sketches` of all once."""
        raise TypeError(f"stage `{self.spec_name}` does nothing")

    def fingerprint(self) -> str:
        """What tells this stage from any that gives other documents. Raises ValueError where it cannot work."""
        return json.dumps([self.version, self.to_plain()])


class TextScore(Component, kind="text_score"):
    """How near written texts come to those they should have been: 100 for all of them, the more the better.

    Object: `(written, wanted) -> float`, of as many texts each.
    """

    formulas: ClassVar[bool] = False
    beside: ClassVar[dict[str, Any]] = {
        "model.type": "encoder_decoder",
        "model.vocab_size": None,
        "tokenizer": "byte",
        "data.source": "reversal",
    }

    #: What it is called in tables.
    title: ClassVar[str] = ""
