"""Token by token: prompts or sources in, what a model adds to them or makes of them out.

B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from blueprint.inference.beam import Beams, search
from blueprint.inference.ends import Ends
from blueprint.inference.prompt import Prompt, reads_source
from blueprint.inference.reading import begin, evaluating, seen
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
    num_beams: int = 1,
    length_penalty: float = 1.0,
    early_stopping: bool | Literal["never"] = False,
    num_return: int = 1,
    attention_mask: Tensor | None = None,
    start_id: int | None = None,
    decoder_input_ids: Tensor | None = None,
    eos_id: int | Sequence[int] | None = None,
    pad_id: int | None = None,
    stop: Sequence[Sequence[int]] = (),
    on_token: Callable[[Tensor], object] | None = None,
) -> Tensor:
    """Continue prompts (B, T): returns them with up to `max_new_tokens` new tokens, (B, T + new).

    A model that reads a source takes `input_ids` as that, and returns what it writes for it, (B, 1 + new), beginning
    with `start_id` (where nothing is said, the id that its spec's objective begins with) or, in its place, with
    `decoder_input_ids` (B, P).

    Temperature 0 takes the likeliest token each time. `attention_mask` (B, T) is 0 at padding, on either side of a
    prompt: every row goes on as it would alone, from its last real token; the prompt's columns come back as given.
    A row ends at an `eos_id`, or after any of the id sequences in `stop`; what ended it stays, and `pad_id` (default:
    the first `eos_id`, else 0) fills the row. It stops early once all rows ended. `on_token` is called with the ids
    (B,) of every step. Decodes with a state where the model has one, else runs the whole sequence for each token.

    With `num_beams` above 1 nothing is drawn: the best of so many sequences searched at once is returned, or the best
    `num_return`, (B * num_return, …), each row's together; `Beams` says what `length_penalty` and `early_stopping` do.
    Raises ValueError for settings out of range or without effect, an empty prompt or source, a start that nothing
    says, and lengths the model has no positions for.
    """
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty, seed)
    beams = Beams(num_beams, length_penalty, early_stopping, num_return)
    fit_together(sampling, beams, on_token is not None)
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be 0 or more, got {max_new_tokens}")
    ends = Ends(len(input_ids), eos_id, stop, pad_id)
    asked: dict[str, Any] = {
        "attention_mask": attention_mask,
        "start_id": start_id,
        "decoder_input_ids": decoder_input_ids,
    }
    prompt = Prompt.of(model, input_ids, new=max_new_tokens, **asked)
    # A prompt comes back as it was given, with its padding where it was.
    begun = prompt.ids_BT.to(input_ids) if reads_source(model) else input_ids
    if beams.width > 1:
        found = search(model, prompt, beams, max_new_tokens, ends, repetition_penalty)
        return torch.cat([begun.repeat_interleave(num_return, 0), found.ids_BRN.flatten(0, 1).to(begun)], 1)
    new: list[Tensor] = []
    with closing(_steps(model, prompt, sampling, max_new_tokens)) as drawn:
        for ids_B in drawn:
            new.append(ends.filled(ids_B))
            if on_token is not None:
                on_token(new[-1])
            if ends.all:
                break
    return torch.cat([begun, *(ids_B[:, None].to(begun) for ids_B in new)], 1)


def fit_together(
    sampling: Sampling, beams: Beams, watched: bool = False, names: Callable[[str], str] = lambda name: name
) -> None:
    """Raise ValueError for settings of which one leaves another without effect; `names` says how they were said."""
    idle = beams.idle()
    if idle:
        told = " and ".join(map(names, idle))
        raise ValueError(f"{told} would do nothing without beams: raise {names('num_beams')} above 1")
    if beams.width == 1:
        return
    drawn = sampling.temperature not in (0, Sampling.temperature)
    idle = (*(("temperature",) if drawn else ()), *replace(sampling, temperature=0).idle())
    if idle:
        raise ValueError(f"beam search draws nothing: {' and '.join(map(names, idle))} would do nothing")
    if watched:
        raise ValueError("beam search knows its tokens at the end only: on_token would not be called, leave it out")


def steps(
    model: nn.Module,
    input_ids: Tensor,
    sampling: Sampling,
    max_new_tokens: int,
    *,
    attention_mask: Tensor | None = None,
    start_id: int | None = None,
    decoder_input_ids: Tensor | None = None,
) -> Generator[Tensor, None, None]:
    """The new ids (B,) of every step, as they are drawn; no row ends by itself, the caller stops asking.

    The model is in eval mode from the first step until the iterator ends or is closed. Raises as `generate` does.
    """
    asked: dict[str, Any] = {"start_id": start_id, "decoder_input_ids": decoder_input_ids}
    prompt = Prompt.of(model, input_ids, attention_mask, new=max_new_tokens, **asked)
    return _steps(model, prompt, sampling, max_new_tokens)


@torch.inference_mode()
def _steps(model: Any, prompt: Prompt, sampling: Sampling, count: int) -> Generator[Tensor, None, None]:
    batch, device = prompt.ids_BT.shape[0], prompt.ids_BT.device
    uniform_NB = None if sampling.greedy else sampling.uniforms(batch, count).to(device)
    seen_BV = None
    with evaluating(model):
        logits_BV, following = begin(model, prompt, count)
        if sampling.repetition_penalty is not None:
            seen_BV = seen(prompt, logits_BV.shape[1])
        for step in range(count):
            ids_B = sampling.pick(logits_BV, None if uniform_NB is None else uniform_NB[step], seen_BV)
            if seen_BV is not None:
                seen_BV.scatter_(1, ids_B[:, None], True)
            yield ids_B
            if step + 1 < count:
                logits_BV = following(ids_B, None)
