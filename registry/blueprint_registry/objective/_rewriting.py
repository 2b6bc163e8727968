"""How objectives that write a text back make pairs of a sample: what the encoder reads, what the decoder writes.

Legend: T the sample's tokens, S those of a source, U those of a target.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from blueprint.kinds import Tokenizer

IGNORED = -100

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Ends:
    """The ids at the ends of what is read and written: what the decoder starts with, what ends both, what fills up."""

    start_id: int
    end_id: int
    pad_id: int

    @classmethod
    def of(cls, start_id: int | None, tokenizer: Tokenizer) -> Ends:
        """Those of a tokenizer; raises ValueError where it has no end."""
        end_id = getattr(tokenizer, "eos_id", None)
        if start_id is None or end_id is None:
            raise ValueError(f"tokenizer `{tokenizer.spec_name}` has no ids for the ends of texts")
        return cls(start_id, end_id, end_id if tokenizer.pad_id is None else tokenizer.pad_id)


class Rewriting:
    """Makes a source and a target of the text of a sample by lot: `(arrays, word) -> arrays`, the same for the same
    word.

    Ends of documents inside the sample are left out, so that an end means the end; one token of a whole sample makes
    room for it. Source and target are cut to their widths and padded at the right.
    """

    ends: Ends

    @abstractmethod
    def pair(self, ids_T: Ids, word: str) -> tuple[Ids, Ids]:
        """The source (S,) and the target (U,) of a text, without their ends."""

    @abstractmethod
    def widths(self, length: int) -> tuple[int, int]:
        """The most tokens of a source and of a target, ends included, that `length` tokens make."""

    def __call__(self, arrays: dict[str, Any], word: str) -> dict[str, Any]:
        """input_ids and attention_mask (S,), decoder_input_ids, decoder_attention_mask and labels (U,)."""
        ids_T = arrays["input_ids"]
        kept_T = ids_T != self.ends.end_id
        if "attention_mask" in arrays:
            kept_T &= arrays["attention_mask"]
        source_width, target_width = self.widths(len(ids_T))
        source_S, target_U = self.pair(ids_T[kept_T][: max(1, len(ids_T) - 1)], word)
        source_S, target_U = (
            np.concatenate([each[: width - 1], [self.ends.end_id]])
            for each, width in ((source_S, source_width), (target_U, target_width))
        )
        return paired(source_S, target_U, source_width, target_width, self.ends)


def paired(source_S: Ids, target_U: Ids, source_width: int, target_width: int, ends: Ends) -> dict[str, Any]:
    """The arrays of a source to read and a target to write, padded at the right; the decoder reads one place later."""
    read_U = np.concatenate([[ends.start_id], target_U[:-1]])[: len(target_U)]
    return {
        "input_ids": _filled(source_S, source_width, ends.pad_id),
        "attention_mask": np.arange(source_width) < len(source_S),
        "decoder_input_ids": _filled(read_U, target_width, ends.pad_id),
        "decoder_attention_mask": np.arange(target_width) < len(target_U),
        "labels": _filled(target_U, target_width, IGNORED),
    }


def stream(arrays: dict[str, Any]) -> Ids:
    """The tokens of a sample of running text, its last label with them, padding left out."""
    kept = int(arrays["attention_mask"].sum()) if "attention_mask" in arrays else len(arrays["input_ids"])
    found: Ids = np.concatenate([arrays["input_ids"][:kept], arrays["labels"][max(0, kept - 1) : kept]])
    return found


def _filled(ids: Ids, width: int, filler: int) -> Ids:
    return np.concatenate([ids, np.full(width - len(ids), filler)]).astype(np.int64)
