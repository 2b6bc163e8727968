"""A model reading what is written, token by token: with a state where it has one, else all of it each time.

A state that holds only for so long (rotations that follow the length) is made anew from all of it where it ends.

B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from blueprint.inference.prompt import Prompt, longest

Following = Callable[[Tensor, Tensor | None], Tensor]
"""The ids (B,) just chosen to the logits (B, V) of the next.

With rows (B,), sequence r goes on from what was sequence `rows[r]`, and the batch may grow or shrink.
"""


def begin(model: Any, prompt: Prompt, count: int) -> tuple[Tensor, Following]:
    """The logits (B, V) of the first new token, and how to get those of up to `count` tokens; a source is read once.

    Raises ValueError where the model's weights have diverged.
    """
    ids_BT, keep_BT, prefix_B = prompt.ids_BT, prompt.keep_BT, prompt.prefix_B
    memory = None if prompt.source_BS is None else model.encode(prompt.source_BS, prompt.source_keep_BS)[0]
    most = longest(ids_BT, keep_BT) + count
    state = model.new_state(len(ids_BT), most) if model.incremental else None

    def read(ids_BT: Tensor, keep_BT: Tensor | None) -> Tensor:
        more: dict[str, Any] = {} if state is None else {"state": state}
        if prompt.source_BS is None:
            more |= {} if prefix_B is None else {"prefix_length": prefix_B}
            return _last(model, model(ids_BT, keep_BT, logits=False, **more))
        given = {"decoder_input_ids": ids_BT, "decoder_attention_mask": keep_BT, "memory": memory}
        return _last(model, model(**given, logits=False, **more))

    def with_state(ids_B: Tensor, rows_B: Tensor | None = None) -> Tensor:
        nonlocal prefix_B
        if rows_B is not None:
            state.reorder(rows_B)  # type: ignore[union-attr]
            prefix_B = None if prefix_B is None else prefix_B[rows_B]
        return read(ids_B[:, None], None)

    def afresh(ids_B: Tensor, rows_B: Tensor | None = None) -> Tensor:
        take(ids_B, rows_B)
        return read(ids_BT, keep_BT)

    def while_it_holds(ids_B: Tensor, rows_B: Tensor | None = None) -> Tensor:
        nonlocal state
        take(ids_B, rows_B)
        if state.holds():  # type: ignore[union-attr]
            return with_state(ids_B, rows_B)
        state = None  # so that there are never two
        state = model.new_state(len(ids_BT), most)
        return read(ids_BT, keep_BT)

    def take(ids_B: Tensor, rows_B: Tensor | None) -> None:
        nonlocal ids_BT, keep_BT, memory, prefix_B
        if rows_B is not None:
            prefix_B = None if prefix_B is None else prefix_B[rows_B]
            ids_BT, keep_BT = ids_BT[rows_B], None if keep_BT is None else keep_BT[rows_B]
            memory = None if memory is None else memory.reorder(rows_B)
        ids_BT = torch.cat((ids_BT, ids_B[:, None]), 1)
        keep_BT = None if keep_BT is None else nn.functional.pad(keep_BT, (0, 1), value=True)

    logits_BV = read(ids_BT, keep_BT)
    if bool(logits_BV.isnan().any()):
        raise ValueError("the model's logits are not numbers (NaN): its weights have diverged")
    if state is None:
        return logits_BV, afresh
    if model.steady(1) is not None:
        return logits_BV, while_it_holds
    memory = None  # every layer that reads it holds what it made of it
    return logits_BV, with_state


def _last(model: Any, out: Any) -> Tensor:
    """The logits (B, V) after the last token: the others are never computed."""
    logits_B1V: Tensor = model.project(out.hidden[:, -1:])
    return logits_B1V[:, 0]


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


def seen(prompt: Prompt, vocab: int) -> Tensor:
    """(B, V), true for tokens of the prompt."""
    ids_BT, keep_BT = prompt.ids_BT, prompt.keep_BT
    seen_BV = torch.zeros(len(ids_BT), vocab, dtype=torch.bool, device=ids_BT.device)
    if keep_BT is None:
        return seen_BV.scatter_(1, ids_BT, True)
    # Padding marks nothing: counted, as it may carry the id of a token that is there too.
    count_BV = torch.zeros(len(ids_BT), vocab, dtype=torch.int32, device=ids_BT.device)
    return count_BV.scatter_add_(1, ids_BT, keep_BT.to(torch.int32)) > 0
