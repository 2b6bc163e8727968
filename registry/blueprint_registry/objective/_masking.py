"""Which tokens of a sample are hidden, and behind what.

Legend: T tokens of a sample, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blueprint_registry.objective._lots import lots

if TYPE_CHECKING:
    from blueprint.kinds import Tokenizer
    from blueprint_registry.objective.masked import Masked

IGNORED = -100


@dataclass(frozen=True)
class Masking:
    """Hides tokens of a sample by lot: `(arrays, word) -> arrays`, the same for the same word."""

    said: Masked
    mask_id: int | None
    special_V: NDArray[np.bool_]
    begins_V: NDArray[np.bool_] | None

    @classmethod
    def of(cls, said: Masked, tokenizer: Tokenizer) -> Masking:
        """What `said` asks for, with a tokenizer's ids."""
        special_V = np.zeros(tokenizer.vocab_size or 0, dtype=np.bool_)
        special_V[list(tokenizer.special_ids)] = True
        return cls(said, tokenizer.mask_id, special_V, tokenizer.begins_word() if said.whole_word else None)

    def __call__(self, arrays: dict[str, Any], word: str) -> dict[str, Any]:
        """The arrays of a sample with chosen tokens hidden in `input_ids`, and `labels` that count those alone."""
        ids_T = arrays["input_ids"]
        free_T = ~self.special_V[ids_T]
        if "attention_mask" in arrays:
            free_T &= arrays["attention_mask"]
        order_T, fate_T, other_T = lots(f"masked {word}", 3 * len(ids_T)).reshape(3, len(ids_T))
        at = self._words(arrays, free_T, order_T) if self.said.whole_word else self._tokens(free_T, order_T)
        labels_T = np.full_like(ids_T, IGNORED)
        labels_T[at] = ids_T[at]
        hidden_T = ids_T.copy()
        fate = fate_T[at] / 2.0**64
        masked, drawn = fate < self.said.mask, (fate >= self.said.mask) & (fate < self.said.mask + self.said.random)
        if self.mask_id is not None:
            hidden_T[at[masked]] = self.mask_id
        ordinary = np.flatnonzero(~self.special_V)
        hidden_T[at[drawn]] = ordinary[other_T[at[drawn]] % np.uint64(len(ordinary))]
        return arrays | {"input_ids": hidden_T, "labels": labels_T}

    def _count(self, free_T: NDArray[np.bool_]) -> int:
        free = int(free_T.sum())
        return min(free, max(1, round(self.said.share * free)))

    def _tokens(self, free_T: NDArray[np.bool_], order_T: NDArray[np.uint64]) -> NDArray[np.intp]:
        """The places of the chosen tokens, each alone."""
        places = np.flatnonzero(free_T)
        return places[np.argsort(order_T[places], kind="stable")[: self._count(free_T)]]

    def _words(
        self, arrays: dict[str, Any], free_T: NDArray[np.bool_], order_T: NDArray[np.uint64]
    ) -> NDArray[np.intp]:
        """The places of the tokens of the chosen words: in the lots' order, those that the share has room for."""
        assert self.begins_V is not None
        begins_T = self.begins_V[arrays["input_ids"]] | ~free_T
        begins_T[1:] |= ~free_T[:-1]
        if "segment_ids" in arrays:
            begins_T[1:] |= np.diff(arrays["segment_ids"]) != 0
        begins_T[:1] = True
        starts = np.flatnonzero(begins_T)
        ends = np.append(starts[1:], len(begins_T))
        room, chosen = self._count(free_T), list[NDArray[np.intp]]()
        for word in np.argsort(order_T[starts], kind="stable"):
            start, end = starts[word], ends[word]
            # A first word longer than the share is better than none.
            if free_T[start] and (end - start <= room or not chosen):
                chosen.append(np.arange(start, end))
                room -= int(end - start)
            if room <= 0 and chosen:
                break
        return np.concatenate(chosen) if chosen else np.array([], dtype=np.intp)
