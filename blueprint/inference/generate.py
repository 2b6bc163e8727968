"""Token by token: prompts in, prompts with what the model adds to them out.

B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from blueprint.inference.prompt import checked, right_aligned, room
from blueprint.inference.sampling import Sampling


def generate(
    model: nn.Module,
    input_ids: Tensor,
    max_new_tokens: int = 64,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    *,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    attention_mask: Tensor | None = None,
    eos_id: int | Sequence[int] | None = None,
    pad_id: int | None = None,
    stop: Sequence[Sequence[int]] = (),
    on_token: Callable[[Tensor], object] | None = None,
) -> Tensor:
    """Continue prompts (B, T): returns them with up to `max_new_tokens` new tokens, (B, T + new).

    Temperature 0 takes the likeliest token each time. `attention_mask` (B, T) is 0 at padding, on either side of a
    prompt: every row goes on as it would alone, from its last real token; the prompt's columns come back as given.
    A row ends at an `eos_id`, or after any of the id sequences in `stop`; what ended it stays, and `pad_id` (default:
    the first `eos_id`, else 0) fills the row. It stops early once all rows ended. `on_token` is called with the ids
    (B,) of every step. Decodes with a state where the model has one, else runs the whole sequence for each token.
    Raises ValueError for settings out of range, an empty prompt, and lengths the model has no positions for.
    """
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty, seed)
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be 0 or more, got {max_new_tokens}")
    ends = Ends(len(input_ids), eos_id, stop, pad_id)
    new: list[Tensor] = []
    with closing(steps(model, input_ids, sampling, max_new_tokens, attention_mask=attention_mask)) as drawn:
        for ids_B in drawn:
            new.append(ends.filled(ids_B))
            if on_token is not None:
                on_token(new[-1])
            if ends.all:
                break
    return torch.cat([input_ids, *(ids_B[:, None].to(input_ids) for ids_B in new)], 1)


def steps(
    model: nn.Module,
    input_ids: Tensor,
    sampling: Sampling,
    max_new_tokens: int,
    *,
    attention_mask: Tensor | None = None,
) -> Generator[Tensor, None, None]:
    """The new ids (B,) of every step, as they are drawn; no row ends by itself, the caller stops asking.

    The model is in eval mode from the first step until the iterator ends or is closed. Raises as `generate` does.
    """
    keep_BT = checked(model, input_ids, attention_mask)
    room(model, longest(input_ids, keep_BT) + max_new_tokens)
    device = next((p.device for p in model.parameters()), input_ids.device)
    ids_BT, keep_BT = right_aligned(input_ids.to(device), None if keep_BT is None else keep_BT.to(device))
    return _steps(model, ids_BT, keep_BT, sampling, max_new_tokens)


@torch.inference_mode()
def _steps(
    model: Any, ids_BT: Tensor, keep_BT: Tensor | None, sampling: Sampling, count: int
) -> Generator[Tensor, None, None]:
    begin = _with_state if model.incremental else _afresh
    uniform_NB = None if sampling.greedy else sampling.uniforms(len(ids_BT), count).to(ids_BT.device)
    seen_BV = None
    with evaluating(model):
        logits_BV, following = begin(model, ids_BT, keep_BT, count)
        if bool(logits_BV.isnan().any()):
            raise ValueError("the model's logits are not numbers (NaN): its weights have diverged")
        if sampling.repetition_penalty is not None:
            seen_BV = _seen(ids_BT, keep_BT, logits_BV.shape[1])
        for step in range(count):
            ids_B = sampling.pick(logits_BV, None if uniform_NB is None else uniform_NB[step], seen_BV)
            if seen_BV is not None:
                seen_BV.scatter_(1, ids_B[:, None], True)
            yield ids_B
            if step + 1 < count:
                logits_BV = following(ids_B)


Following = Callable[[Tensor], Tensor]
"""The ids (B,) just drawn to the logits (B, V) of the next."""


def _with_state(model: Any, ids_BT: Tensor, keep_BT: Tensor | None, count: int) -> tuple[Tensor, Following]:
    """The first logits, and those that follow: each token goes through the model once, a state holds the rest."""
    state = model.new_state(len(ids_BT), longest(ids_BT, keep_BT) + count)

    def following(ids_B: Tensor) -> Tensor:
        return _last(model, model(ids_B[:, None], state=state, logits=False))

    return _last(model, model(ids_BT, keep_BT, state=state, logits=False)), following


def _afresh(model: Any, ids_BT: Tensor, keep_BT: Tensor | None, count: int) -> tuple[Tensor, Following]:
    """The same without a state: the whole sequence goes through the model for each token."""

    def following(ids_B: Tensor) -> Tensor:
        nonlocal ids_BT, keep_BT
        ids_BT = torch.cat((ids_BT, ids_B[:, None]), 1)
        keep_BT = None if keep_BT is None else nn.functional.pad(keep_BT, (0, 1), value=True)
        return _last(model, model(ids_BT, keep_BT, logits=False))

    return _last(model, model(ids_BT, keep_BT, logits=False)), following


def _last(model: Any, out: Any) -> Tensor:
    """The logits (B, V) after the last token: the others are never computed."""
    logits_B1V: Tensor = model.project(out.hidden[:, -1:])
    return logits_B1V[:, 0]


class Ends:
    """Which rows of a batch have ended, and by what."""

    def __init__(
        self,
        batch: int,
        eos_id: int | Sequence[int] | None = None,
        stop: Sequence[Sequence[int]] = (),
        pad_id: int | None = None,
    ) -> None:
        eos = [] if eos_id is None else [eos_id] if isinstance(eos_id, int) else list(eos_id)
        if any(len(ids) == 0 for ids in stop):
            raise ValueError("an empty sequence in `stop` would end every row at once: leave it out")
        self.sequences = [*([each] for each in eos), *map(list, stop)]
        self.pad = pad_id if pad_id is not None else eos[0] if eos else 0
        self.ended = [False] * batch
        self.tails: list[list[int]] = [[] for _ in range(batch)]
        self.keep = max(map(len, self.sequences), default=0)

    @property
    def all(self) -> bool:
        """Whether no row goes on."""
        return all(self.ended)

    def filled(self, ids_B: Tensor) -> Tensor:
        """The ids, with padding in rows that had ended before; notes which end now."""
        if not self.sequences:
            return ids_B
        ids = [self.pad if ended else new for ended, new in zip(self.ended, ids_B.tolist(), strict=True)]
        if any(self.ended):
            ids_B = torch.tensor(ids, dtype=ids_B.dtype, device=ids_B.device)
        for row, new in enumerate(ids):
            if not self.ended[row]:
                tail = self.tails[row] = [*self.tails[row], new][-self.keep :]
                self.ended[row] = any(tail[-len(ids) :] == ids for ids in self.sequences)
        return ids_B


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every module is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def longest(ids_BT: Tensor, keep_BT: Tensor | None) -> int:
    """The number of real tokens in the longest row."""
    return ids_BT.shape[1] if keep_BT is None else int(keep_BT.sum(1).max())


def _seen(ids_BT: Tensor, keep_BT: Tensor | None, vocab: int) -> Tensor:
    """(B, V), true for tokens of the prompt."""
    seen_BV = torch.zeros(len(ids_BT), vocab, dtype=torch.bool, device=ids_BT.device)
    if keep_BT is None:
        return seen_BV.scatter_(1, ids_BT, True)
    # Padding marks nothing: counted, as it may carry the id of a token that is there too.
    count_BV = torch.zeros(len(ids_BT), vocab, dtype=torch.int32, device=ids_BT.device)
    return count_BV.scatter_add_(1, ids_BT, keep_BT.to(torch.int32)) > 0
