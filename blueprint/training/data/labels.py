"""Documents with several labels: encoders for texts with a set of them and for words with one each, and the samples.

Legend: T the length of a text in tokens, C labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from blueprint.training.data.encoder import Classes, behind, columns, joined, split, wholes
from blueprint.training.data.packing import IGNORE, Arrays
from blueprint.training.data.rows import Rows, fill, padded, padding
from blueprint.training.data.store import Split


@dataclass(frozen=True)
class _Several:
    """What encoders of texts with several labels have in common; `tokenizer` as an `Encoder`'s."""

    tokenizer: Any
    classes: Classes
    divisible = False

    @property
    def eos_id(self) -> int | None:
        """The tokenizer's."""
        found: int | None = self.tokenizer.eos_id
        return found

    def dealt_by(self, data: bytes) -> bytes:
        """The text, or the words."""
        return split(data)[0]

    def _fingerprint(self, what: str) -> str:
        return f"{what} {json.dumps(self.classes.names)} by {self.tokenizer.fingerprint}"


@dataclass(frozen=True)
class MultiLabelled(_Several):
    """The encoder of texts with a set of labels: the labels' numbers, an id that no text has, the text's ids."""

    @property
    def vocab_size(self) -> int:
        """The tokenizer's, or as many as there are labels, and one id between labels and text."""
        most: int = max(self.tokenizer.vocab_size, len(self.classes.names))
        return most + 1

    @property
    def fingerprint(self) -> str:
        """The labels in their order, and the tokenizer's."""
        return self._fingerprint("multi-labelled")

    def texts(self, data: bytes) -> list[str]:
        """The text."""
        return [split(data)[0].decode()]

    def ids(self, documents: Sequence[bytes]) -> list[NDArray[Any]]:
        """The labels' numbers, the border, and the ids of the text, of each."""
        texts, labels = columns(documents)
        numbers = [[self.classes.number(label) for label in json.loads(each)] for each in labels]
        return behind([[*each, self.vocab_size - 1] for each in numbers], wholes(self.tokenizer, texts))


@dataclass(frozen=True)
class Tagged(_Several):
    """The encoder of words with a label each: in turn a token's id and a number, which is 0 where the token is of no
    word, else twice its word's label and 1 more, or 2 more where it goes on with its word."""

    @property
    def vocab_size(self) -> int:
        """The tokenizer's, or as many as there are such numbers."""
        found: int = max(self.tokenizer.vocab_size, 2 * len(self.classes.names) + 1)
        return found

    @property
    def fingerprint(self) -> str:
        """The labels in their order, and the tokenizer's."""
        return self._fingerprint("tagged")

    def texts(self, data: bytes) -> list[str]:
        """The words, with spaces between."""
        return [" ".join(json.loads(split(data)[0]))]

    def ids(self, documents: Sequence[bytes]) -> list[NDArray[Any]]:
        """Ids and numbers in turn, of each."""
        return [self._of(data) for data in documents]

    def _of(self, data: bytes) -> NDArray[Any]:
        words, labels = map(json.loads, split(data))
        number_of = np.array([self.classes.number(label) for label in labels], dtype=np.int64)
        ids_T, word_T = self.tokenizer.words(words)
        goes_on_T = np.zeros(len(word_T), dtype=np.int64)
        goes_on_T[1:] = word_T[1:] == word_T[:-1]
        said_T = np.where(word_T < 0, 0, 2 * number_of[word_T] + 1 + goes_on_T)
        return np.stack([np.asarray(ids_T, dtype=np.int64), said_T], axis=1).reshape(-1)


@dataclass(frozen=True, slots=True)
class MultiLabelledRows(Rows):
    """A text, cut to the length or padded at the right, and for each of `labels` whether it has it."""

    length: int
    labels: int
    pad_id: int | None = None

    def sample(self, split: Split, index: int) -> Arrays:
        """input_ids and attention_mask (T,), labels (C,) float32, 0 or 1."""
        start, stop = self.span(split, index)
        ids = split.ids[start:stop].astype(np.int64)
        border = int(np.argmax(ids == split.vocab_size - 1))  # the last id of all lies between the two
        labels_C = np.zeros(self.labels, dtype=np.float32)
        labels_C[ids[:border]] = 1
        return {**padded(ids[border + 1 :], self.length, padding(self.pad_id, split)), "labels": labels_C}


@dataclass(frozen=True, slots=True)
class TaggedRows(Rows):
    """A sentence, cut to the length or padded at the right, and the label of each word at its first token, its last, or
    all; other tokens have none."""

    length: int
    token: Literal["first", "last", "all"] = "first"
    pad_id: int | None = None

    def sample(self, split: Split, index: int) -> Arrays:
        """input_ids, attention_mask and labels (T,)."""
        start, stop = self.span(split, index)
        data = split.ids[start:stop].astype(np.int64)
        # The end that follows every document has no number beside it.
        ids_T, said_T = data[::2], np.append(data[1::2], [0] * (len(data) % 2))
        begins_T, goes_on_T = said_T % 2 == 1, (said_T > 0) & (said_T % 2 == 0)
        counts = {"first": begins_T, "last": (said_T > 0) & ~np.append(goes_on_T[1:], False), "all": said_T > 0}
        labels_T = np.where(counts[self.token], (said_T - 1) // 2, IGNORE)
        pad = padding(self.pad_id, split)
        return {**padded(ids_T, self.length, pad), "labels": fill(labels_T[: self.length], self.length, IGNORE)}


def with_labels(text: str, labels: Sequence[str]) -> bytes:
    """A text with a set of labels as bytes."""
    return joined((text, json.dumps(list(labels))))


def words_and_labels(words: Sequence[str], labels: Sequence[str]) -> bytes:
    """Words with a label each as bytes."""
    return joined((json.dumps(list(words)), json.dumps(list(labels))))
