"""Samples of one document each that are no running text: pairs of texts, texts and images
with a label or a number each, images with texts.

Legend: T the length of a source or a text, U that of a target, K texts of an image, C channels, Y rows, X columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blueprint.training.data.packing import IGNORE, Arrays
from blueprint.training.data.store import Split


class Rows:
    """What samples of one document each have in common."""

    __slots__ = ()

    def count(self, split: Split) -> int:
        """The number of documents."""
        return split.documents

    def span(self, split: Split, index: int) -> tuple[int, int]:
        """The tokens of the split that a sample reads."""
        return int(split.starts[index]), int(split.starts[index + 1])


@dataclass(frozen=True, slots=True)
class PairRows(Rows):
    """A source to read and a target to write, each cut to its length or padded at the right.

    The decoder reads the target one place later, after `start_id` (teacher forcing: Williams & Zipser, 1989; Sutskever
    et al., 2014, §2). An end that is cut off is not learned.
    """

    length: int
    target_length: int
    start_id: int
    pad_id: int | None = None

    def sample(self, split: Split, index: int) -> Arrays:
        """input_ids and attention_mask (T,), decoder_input_ids, decoder_attention_mask and labels (U,)."""
        start, stop = self.span(split, index)
        ids = split.ids[start:stop].astype(np.int64)
        border = int(np.argmax(ids == split.vocab_size - 1))  # the last id of all lies between the two
        target = ids[border + 1 :][: self.target_length]
        pad = padding(self.pad_id, split)
        kept = np.arange(self.target_length) < len(target)
        read = np.concatenate([[self.start_id], target[:-1]])[: len(target)]
        return {
            **padded(ids[:border], self.length, pad),
            "decoder_input_ids": fill(read, self.target_length, pad),
            "decoder_attention_mask": kept,
            "labels": fill(target, self.target_length, IGNORE),
        }


@dataclass(frozen=True, slots=True)
class LabelledRows(Rows):
    """A text, cut to the length or padded at the right, and the number of its label."""

    length: int
    pad_id: int | None = None

    def sample(self, split: Split, index: int) -> Arrays:
        """input_ids and attention_mask (T,), labels ()."""
        start, stop = self.span(split, index)
        text = split.ids[start + 1 : stop].astype(np.int64)
        label = np.array(split.ids[start], dtype=np.int64)
        return {**padded(text, self.length, padding(self.pad_id, split)), "labels": label}


@dataclass(frozen=True, slots=True)
class ScoredRows(Rows):
    """A text, cut to the length or padded at the right, and its number."""

    length: int
    pad_id: int | None = None

    def sample(self, split: Split, index: int) -> Arrays:
        """input_ids and attention_mask (T,), labels () float32."""
        start, stop = self.span(split, index)
        text = split.ids[start + 8 : stop].astype(np.int64)
        number = split.ids[start : start + 8].astype(np.uint8).view("<f8")[0]
        inputs = padded(text, self.length, padding(self.pad_id, split))
        return {**inputs, "labels": np.array(number, dtype=np.float32)}


@dataclass(frozen=True, slots=True)
class ImageRows(Rows):
    """An image, scaled to (value / 255 - mean) / std in each channel, and the number of its label."""

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def sample(self, split: Split, index: int) -> Arrays:
        """pixel_values (C, Y, X) float32, labels ()."""
        start, stop = self.span(split, index)
        label = np.array(split.ids[start], dtype=np.int64)
        return {"pixel_values": self.scaled(split.ids[start + 1 : stop]), "labels": label}

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """(C, Y, X) float32: an image's values as a model reads them."""
        values_CYX = values.reshape(self.shape).astype(np.float32) / np.float32(255)
        mean_C11, std_C11 = (np.array(each, np.float32).reshape(-1, 1, 1) for each in (self.mean, self.std))
        scaled_CYX: np.ndarray = (values_CYX - mean_C11) / std_C11
        return scaled_CYX


@dataclass(frozen=True, slots=True)
class CaptionRows(Rows):
    """An image, its texts, each cut to the length (its end is kept) or padded at the right, and its label's number."""

    images: ImageRows
    length: int
    eos_id: int | None
    pad_id: int

    def sample(self, split: Split, index: int) -> Arrays:
        """pixel_values (C, Y, X) float32, input_ids and attention_mask (K, T), labels ()."""
        start, stop = self.span(split, index)
        border = start + 1 + math.prod(self.images.shape)
        ids = split.ids[border:stop].astype(np.int64)
        begins = np.flatnonzero(ids == split.vocab_size - 1)  # the last id of all lies before each text
        texts = self.padded(np.split(ids, begins)[1:], 1)
        label = np.array(split.ids[start], dtype=np.int64)
        return {"pixel_values": self.images.scaled(split.ids[start + 1 : border]), **texts, "labels": label}

    def padded(self, texts: Sequence[np.ndarray], begin: int = 0) -> Arrays:
        """input_ids and attention_mask (K, T) of texts, each from its id number `begin` on."""
        rows = [padded(self._cut(ids[begin:]), self.length, self.pad_id) for ids in texts]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _cut(self, ids: np.ndarray) -> np.ndarray:
        if len(ids) <= self.length or self.eos_id is None:
            return ids
        return np.append(ids[: self.length - 1], self.eos_id)


def padding(said: int | None, split: Split) -> int:
    """What fills up a row: the tokenizer's id for that, or else its end, or else 0."""
    return said if said is not None else split.eos_id or 0


def padded(ids: np.ndarray, length: int, pad: int) -> Arrays:
    """input_ids and attention_mask (T,) of a text, cut or padded at the right."""
    ids = ids[:length]
    return {"input_ids": fill(ids, length, pad), "attention_mask": np.arange(length) < len(ids)}


def fill(ids: np.ndarray, length: int, pad: int) -> np.ndarray:
    """(T,) int64: what there is, and `pad` after it."""
    return np.concatenate([ids, np.full(length - len(ids), pad)]).astype(np.int64)
