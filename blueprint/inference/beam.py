"""Beam search: the likeliest sequences, as far as keeping a few at a time finds them.

B batch, K beams, C candidates of a step, N new tokens, V vocabulary, R sequences returned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from blueprint.inference.ends import Ends
from blueprint.inference.prompt import Prompt
from blueprint.inference.reading import begin, evaluating, seen
from blueprint.inference.sampling import penalise


@dataclass(frozen=True)
class Beams:
    """How to search: `width` sequences at a time, of which the best `returned` are given back.

    A sequence that ended is worth its log-probability over its number of new tokens, the end counted, to the power of
    `length_penalty`: above 0 long ones gain (Wu et al., 2016, §7, with the length alone). A row is done once `width`
    sequences ended, with `early_stopping` at once; without it, once the best unfinished one, were it to end now, is
    worth no more than the worst of them; with "never", only if it could not become worth more at any length. Raises
    ValueError for a value out of range.
    """

    width: int
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    returned: int = 1

    def __post_init__(self) -> None:
        for name, value in {"num_beams": self.width, "num_return": self.returned}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number from 1 up, got {value!r}")
        if self.returned > self.width:
            raise ValueError(f"{self.returned} sequences cannot be returned of {self.width} beams: raise num_beams")
        number = isinstance(self.length_penalty, int | float) and not isinstance(self.length_penalty, bool)
        if not (number and abs(self.length_penalty) <= 10):
            raise ValueError(f"length_penalty must be a number from -10 to 10, got {self.length_penalty!r}")
        if not isinstance(self.early_stopping, bool) and self.early_stopping != "never":
            raise ValueError(f'early_stopping must be true, false or "never", got {self.early_stopping!r}')

    def idle(self) -> tuple[str, ...]:
        """The settings said that do nothing: all, where a single beam makes no search."""
        said = {
            "length_penalty": self.length_penalty != 1,
            "early_stopping": self.early_stopping is not False,
        }
        return tuple(name for name, changed in said.items() if changed and self.width == 1)

    def worth(self, score: Tensor, length: int) -> Tensor:
        """Log-probabilities of sequences of `length` new tokens, as they are compared."""
        by: float = length**self.length_penalty
        return score / by

    def attainable(self, score: Tensor, length: int, longest: int) -> Tensor:
        """The most that sequences of now `length` new tokens are taken to become worth."""
        far = self.early_stopping == "never" and self.length_penalty > 0
        return self.worth(score, longest if far else length)


@dataclass(frozen=True)
class Found:
    """The sequences found, best first: new ids (B, R, N), filled at the end, how many are real (B, R), and their worth
    (B, R), −inf where there were no more sequences."""

    ids_BRN: Tensor
    length_BR: Tensor
    score_BR: Tensor


class _Finished:
    """The best sequences of each row that ended."""

    def __init__(self, batch: int, width: int, count: int, pad: int, device: torch.device) -> None:
        self.ids_BKN = torch.full((batch, width, count), pad, device=device)
        self.length_BK = torch.zeros(batch, width, dtype=torch.int64, device=device)
        self.score_BK = torch.full((batch, width), -math.inf, device=device)

    @property
    def full_B(self) -> Tensor:
        """Whether a row has as many as it can keep."""
        return (self.length_BK > 0).all(1)

    def add(self, ids_BCN: Tensor, length: int, score_BC: Tensor) -> None:
        """Take what is better than the worst that is held; −inf: nothing."""
        score_BX = torch.cat((self.score_BK, score_BC), 1)
        length_BC = torch.where(score_BC > -math.inf, length, 0)
        self.score_BK, at_BK = score_BX.topk(self.score_BK.shape[1])
        self.length_BK = torch.cat((self.length_BK, length_BC), 1).gather(1, at_BK)
        self.ids_BKN = _rows(torch.cat((self.ids_BKN, ids_BCN), 1), at_BK)


@torch.inference_mode()
def search(
    model: Any, prompt: Prompt, beams: Beams, count: int, ends: Ends, repetition_penalty: float | None = None
) -> Found:
    """The best continuations of `prompt` by up to `count` tokens, every row as it would be alone.

    `repetition_penalty` falls on log-probabilities. Raises ValueError where the model's weights have diverged.
    """
    with evaluating(model):
        return _search(model, prompt, beams, count, ends, repetition_penalty)


def _search(
    model: Any, prompt: Prompt, beams: Beams, count: int, ends: Ends, repetition_penalty: float | None
) -> Found:
    batch, width, device = len(prompt.ids_BT), beams.width, prompt.ids_BT.device
    finished = _Finished(batch, width, count, ends.pad, device)
    # At first all beams of a row are the prompt: only one of them counts.
    score_BK = torch.full((batch, width), -math.inf, device=device)
    score_BK[:, 0] = 0
    ids_BKN = finished.ids_BKN.clone()
    open_B = torch.ones(batch, dtype=torch.bool, device=device)
    row_B1 = torch.arange(batch, device=device)[:, None]
    logits_XV, following = begin(model, prompt, count) if count else (torch.empty(batch, 1), None)
    vocab = logits_XV.shape[1]
    seen_XV = None if repetition_penalty is None else seen(prompt, vocab)
    # So many that `width` go on, even if every beam ends in every way it can.
    most = min(max(2, 1 + ends.ways) * width, width * vocab)
    for length in range(1, count + 1):
        log_XV = logits_XV.float().log_softmax(-1)
        if repetition_penalty is not None and seen_XV is not None:
            log_XV = penalise(log_XV, seen_XV, repetition_penalty)
        log_BKV = log_XV.view(batch, -1, vocab) + score_BK[:, :, None]
        score_BC, at_BC = log_BKV.flatten(1).topk(most)
        from_BC, id_BC = at_BC // vocab, at_BC % vocab
        ids_BCN = _rows(ids_BKN, from_BC)
        ids_BCN[:, :, length - 1] = id_BC
        ended_BC = ends.reached(ids_BCN[:, :, :length]) if length < count else torch.ones_like(id_BC, dtype=torch.bool)

        # Only the best `width` candidates may end; the others are there to go on.
        taken_BC = ended_BC & open_B[:, None] & (torch.arange(most, device=device) < width)
        if beams.early_stopping is True:
            taken_BC &= ~finished.full_B[:, None]
        finished.add(ids_BCN, length, beams.worth(score_BC, length).masked_fill(~taken_BC, -math.inf))

        score_BK, at_BK = score_BC.masked_fill(ended_BC, -math.inf).topk(width)
        best_B = beams.attainable(score_BK[:, 0], length, count)
        open_B &= (score_BK[:, 0] > -math.inf) & (~finished.full_B | (best_B > finished.score_BK[:, -1]))
        if length == count or not bool(open_B.any()) or (beams.early_stopping is True and bool(finished.full_B.all())):
            break
        ids_BKN, from_BK = _rows(ids_BCN, at_BK), from_BC.gather(1, at_BK)
        row_X = (row_B1 + 0 * from_BK if length == 1 else row_B1 * width + from_BK).flatten()
        id_X = ids_BKN[:, :, length - 1].flatten()
        if seen_XV is not None:
            seen_XV = seen_XV[row_X].scatter_(1, id_X[:, None], True)
        assert following is not None
        logits_XV = following(id_X, row_X)
    kept = slice(None, beams.returned)
    length_BR = finished.length_BK[:, kept]
    size = int(length_BR.max())
    fill_BRN = torch.arange(size, device=device) >= length_BR[:, :, None]
    ids_BRN = finished.ids_BKN[:, kept, :size].masked_fill(fill_BRN, ends.pad)
    return Found(ids_BRN, length_BR, finished.score_BK[:, kept])


def _rows(held_BKN: Tensor, at_BC: Tensor) -> Tensor:
    """The sequences (B, C, N) at these places."""
    return held_BKN.gather(1, at_BC[:, :, None].expand(-1, -1, held_BKN.shape[2]))
