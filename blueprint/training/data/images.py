"""Encoders of images: with a label, or with texts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.training.data.encoder import Classes, Tokenizer, split, wholes
from blueprint.training.data.error import DataError


@dataclass(frozen=True)
class Pixels:
    """The encoder of labelled images of one shape (channels, height, width): the label's number, then every value."""

    shape: tuple[int, int, int]
    classes: Classes
    divisible = False
    eos_id = None

    @property
    def vocab_size(self) -> int:
        """The 256 values of a byte, or as many as there are labels."""
        return max(256, len(self.classes.names))

    @property
    def fingerprint(self) -> str:
        """The shape, and the labels in their order."""
        return f"images {self.shape} {json.dumps(self.classes.names)}"

    def dealt_by(self, data: bytes) -> bytes:
        """The pixels."""
        return split(data)[0]

    def texts(self, data: bytes) -> list[str]:
        """None."""
        return []

    def ids(self, documents: Sequence[bytes]) -> list[NDArray[Any]]:
        """The label's number and the values of all pixels; raises `DataError` for another size."""
        return [self._values(data) for data in documents]

    def _values(self, data: bytes) -> NDArray[Any]:
        pixels, label = split(data)
        values = pixel_values(pixels, self.shape)
        return np.concatenate([[self.classes.number(label.decode())], values]).astype(np.int64)


@dataclass(frozen=True)
class Captions:
    """The encoder of images of one shape with texts: the label's number (0 where there are none), every value, and each
    text's ids within its ends, before each an id that no text has."""

    shape: tuple[int, int, int]
    tokenizer: Tokenizer
    classes: Classes | None
    divisible = False
    eos_id = None

    @property
    def vocab_size(self) -> int:
        """The tokenizer's, the 256 values of a byte, or as many as there are labels; and one id before each text."""
        labels = [] if self.classes is None else self.classes.names
        return max(self.tokenizer.vocab_size, 256, len(labels)) + 1

    @property
    def fingerprint(self) -> str:
        """The shape, the labels in their order, and the tokenizer's."""
        labels = None if self.classes is None else self.classes.names
        return f"captions of {self.shape} {json.dumps(labels)} by {self.tokenizer.fingerprint}"

    def dealt_by(self, data: bytes) -> bytes:
        """The pixels."""
        return split(data)[0]

    def texts(self, data: bytes) -> list[str]:
        """The image's texts."""
        found: list[str] = json.loads(split(data)[1])[0]
        return found

    def ids(self, documents: Sequence[bytes]) -> list[NDArray[Any]]:
        """The label's number, the values of all pixels, the texts, of each; raises `DataError` for another size."""
        return [self._of(data) for data in documents]

    def _of(self, data: bytes) -> NDArray[Any]:
        pixels, beside = split(data)
        texts, label = json.loads(beside)
        number = 0 if self.classes is None else self.classes.number(label)
        parts: list[Any] = [[number], pixel_values(pixels, self.shape)]
        for text in texts:
            parts += [[self.vocab_size - 1], self.text(text)]
        return np.concatenate(parts).astype(np.int64)

    def text(self, text: str) -> NDArray[Any]:
        """The ids of a text, its end with them."""
        end = self.tokenizer.eos_id
        return np.concatenate([wholes(self.tokenizer, [text])[0], [] if end is None else [end]]).astype(np.int64)


def pixel_values(pixels: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The values of an image's pixels; raises `DataError` for another size."""
    if len(pixels) != math.prod(shape):
        raise DataError(f"an image has {len(pixels)} values, and not the {math.prod(shape)} of {shape}")
    return np.frombuffer(pixels, dtype=np.uint8)
