"""Encoders: what a source's documents are kept as, and how that becomes the ids of token files.

A document of two parts is kept as the first part's size (8 bytes, little-endian), the first part, the second. What
decides its split is the input alone, so that nothing that is held out was ever shown with another answer.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from blueprint.training.data.error import DataError

Content = str | bytes
"""What a document holds: a text, or bytes that its encoder understands."""


@runtime_checkable
class Encoder(Protocol):
    """What turns a document's bytes into ids; `vocab_size`, `eos_id` and `fingerprint` are as a tokenizer's."""

    #: Whether a lone document can be cut in two, of which one is held out.
    divisible: bool

    @property
    def vocab_size(self) -> int:
        """How many ids there are; each is below it."""

    @property
    def eos_id(self) -> int | None:
        """The id put after every document, or None for none."""

    @property
    def fingerprint(self) -> str:
        """What tells this encoder from any that gives other ids, or deals documents to splits by other parts."""

    def dealt_by(self, data: bytes, /) -> bytes:
        """The part of a document that decides which split it goes to: documents that share it go together."""

    def texts(self, data: bytes, /) -> list[str]:
        """The texts in a document, from which a tokenizer may learn."""

    def ids(self, documents: Sequence[bytes], /) -> list[NDArray[Any]]:
        """(tokens,) the ids of each document, without an end token."""


class Tokenizer(Protocol):
    """What turns a text into ids."""

    @property
    def vocab_size(self) -> int:
        """How many ids there are; each is below it."""

    @property
    def eos_id(self) -> int | None:
        """The id put after every document, or None for none."""

    @property
    def fingerprint(self) -> str:
        """What tells this tokenizer from any that gives other ids."""

    def encode(self, text: str, /) -> NDArray[Any]:
        """(tokens,) the ids of a text, without an end token. One that is quicker with many has `encode_all`."""


@dataclass(frozen=True)
class Whole:
    """The encoder of plain texts: all of a text is tokens, and all of it decides the split."""

    tokenizer: Tokenizer
    divisible = True

    @property
    def vocab_size(self) -> int:
        """The tokenizer's."""
        return self.tokenizer.vocab_size

    @property
    def eos_id(self) -> int | None:
        """The tokenizer's."""
        return self.tokenizer.eos_id

    @property
    def fingerprint(self) -> str:
        """The tokenizer's."""
        return self.tokenizer.fingerprint

    def dealt_by(self, data: bytes) -> bytes:
        """All of it."""
        return data

    def texts(self, data: bytes) -> list[str]:
        """All of it."""
        return [data.decode()]

    def ids(self, documents: Sequence[bytes]) -> list[NDArray[Any]]:
        """The ids of the texts."""
        return wholes(self.tokenizer, [data.decode() for data in documents])


@dataclass(frozen=True)
class Pairs:
    """The encoder of pairs of texts: the source's ids, its end, an id that no text has, the target's ids, its end."""

    tokenizer: Tokenizer
    divisible = False

    @property
    def vocab_size(self) -> int:
        """The tokenizer's, and one id between source and target."""
        return self.tokenizer.vocab_size + 1

    @property
    def eos_id(self) -> int | None:
        """The tokenizer's."""
        return self.tokenizer.eos_id

    @property
    def fingerprint(self) -> str:
        """Pairs, by the tokenizer's."""
        return f"pairs by {self.tokenizer.fingerprint}"

    def dealt_by(self, data: bytes) -> bytes:
        """The source."""
        return split(data)[0]

    def texts(self, data: bytes) -> list[str]:
        """The source and the target."""
        return [part.decode() for part in split(data)]

    def ids(self, documents: Sequence[bytes]) -> list[NDArray[Any]]:
        """The ids of source and target, all ends but the last among them."""
        parts = [part.decode() for data in documents for part in split(data)]
        found = _many(self.tokenizer, "encode", parts)
        border = [*([] if self.eos_id is None else [self.eos_id]), self.vocab_size - 1]
        pairs = zip(found[::2], found[1::2], strict=True)
        return [np.concatenate([source, border, target]).astype(np.int64) for source, target in pairs]


class Classes:
    """The numbers of labels, by their names."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def number(self, name: str) -> int:
        """The number of a label; raises `DataError` for one that is not known."""
        if name not in self._numbers:
            raise DataError(f"the label {name!r} is none of {', '.join(self.names)}")
        return self._numbers[name]


@dataclass(frozen=True)
class Labelled:
    """The encoder of labelled texts: the label's number, then the text's ids."""

    tokenizer: Tokenizer
    classes: Classes
    divisible = False

    @property
    def vocab_size(self) -> int:
        """The tokenizer's, or as many as there are labels."""
        return max(self.tokenizer.vocab_size, len(self.classes.names))

    @property
    def eos_id(self) -> int | None:
        """The tokenizer's."""
        return self.tokenizer.eos_id

    @property
    def fingerprint(self) -> str:
        """The labels in their order, and the tokenizer's."""
        return f"labelled {json.dumps(self.classes.names)} by {self.tokenizer.fingerprint}"

    def dealt_by(self, data: bytes) -> bytes:
        """The text."""
        return split(data)[0]

    def texts(self, data: bytes) -> list[str]:
        """The text."""
        return [split(data)[0].decode()]

    def ids(self, documents: Sequence[bytes]) -> list[NDArray[Any]]:
        """The label's number and the ids of the text."""
        texts, labels = columns(documents)
        before = [[self.classes.number(label)] for label in labels]
        return behind(before, wholes(self.tokenizer, texts))


@dataclass(frozen=True)
class Scored:
    """The encoder of texts with a number each: the eight bytes of the number, then the text's ids."""

    tokenizer: Tokenizer
    divisible = False

    @property
    def vocab_size(self) -> int:
        """The tokenizer's, or the 256 values of a byte."""
        return max(self.tokenizer.vocab_size, 256)

    @property
    def eos_id(self) -> int | None:
        """The tokenizer's."""
        return self.tokenizer.eos_id

    @property
    def fingerprint(self) -> str:
        """Numbers, by the tokenizer's."""
        return f"scored by {self.tokenizer.fingerprint}"

    def dealt_by(self, data: bytes) -> bytes:
        """The text."""
        return split(data)[0]

    def texts(self, data: bytes) -> list[str]:
        """The text."""
        return [split(data)[0].decode()]

    def ids(self, documents: Sequence[bytes]) -> list[NDArray[Any]]:
        """The bytes of the number, as a little-endian double, and the ids of the text."""
        texts, numbers = columns(documents)
        before = [list(struct.pack("<d", float(number))) for number in numbers]
        return behind(before, wholes(self.tokenizer, texts))


def wholes(tokenizer: Any, texts: list[str]) -> list[NDArray[Any]]:
    """The ids of texts that are documents: within the tokenizer's template, where it has one."""
    return _many(tokenizer, "document" if hasattr(tokenizer, "document") else "encode", texts)


def _many(tokenizer: Any, what: str, texts: list[str]) -> list[NDArray[Any]]:
    """What a tokenizer makes of texts: all at once, where it can."""
    at_once = getattr(tokenizer, f"{what}_all", None)
    return list(map(getattr(tokenizer, what), texts)) if at_once is None else at_once(texts)


def columns(documents: Sequence[bytes]) -> tuple[list[str], list[str]]:
    """The first parts of documents, and the second ones."""
    parts = [split(data) for data in documents]
    return [first.decode() for first, _ in parts], [second.decode() for _, second in parts]


def behind(before: list[list[int]], found: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """The ids of each, behind numbers of its own."""
    return [np.concatenate([first, ids]).astype(np.int64) for first, ids in zip(before, found, strict=True)]


def joined(content: tuple[str | bytes, str]) -> bytes:
    """A document of two parts as bytes."""
    first, second = (part if isinstance(part, bytes) else part.encode() for part in content)
    return len(first).to_bytes(8, "little") + first + second


def split(data: bytes) -> tuple[bytes, bytes]:
    """The two parts of a document."""
    border = 8 + int.from_bytes(data[:8], "little")
    return data[8:border], data[border:]
