"""Decoding: with a state or without, alone or in a batch, the tokens are the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blueprint as bp
from blueprint.inference.generate import steps
from blueprint.inference.sampling import Sampling

from .conftest import VARIANTS, Make, make

PROMPTS = [[3, 14, 15, 9, 26, 5, 35], [8, 9], [7, 9, 3, 2], [1]]
SAMPLED: dict[str, Any] = {"temperature": 0.9, "top_k": 30, "top_p": 0.95, "seed": 5}


def alone(model: nn.Module, prompt: list[int], count: int) -> list[int]:
    """The likeliest tokens, from the whole sequence each time."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def padded(side: str, pad: int = 0) -> tuple[Tensor, Tensor]:
    """The prompts as one batch with the padding on a side, and its mask."""
    width = max(map(len, PROMPTS))
    fill = {"left": lambda x, f: [f] * (width - len(x)) + x, "right": lambda x, f: x + [f] * (width - len(x))}[side]
    return torch.tensor([fill(p, pad) for p in PROMPTS]), torch.tensor([fill([1] * len(p), 0) for p in PROMPTS])


def test_greedy_takes_the_likeliest_token_of_the_whole_sequence(model: nn.Module) -> None:
    out = bp.generate(model, torch.tensor(PROMPTS[:1]), 20, temperature=0)
    assert out.tolist() == [PROMPTS[0] + alone(model, PROMPTS[0], 20)]


@pytest.mark.parametrize("side", ["left", "right"])
def test_each_row_of_a_padded_batch_goes_on_as_it_would_alone(model: nn.Module, side: str) -> None:
    ids, mask = padded(side)
    out = bp.generate(model, ids, 12, temperature=0, attention_mask=mask)
    assert torch.equal(out[:, : ids.shape[1]], ids)
    assert out[:, ids.shape[1] :].tolist() == [alone(model, prompt, 12) for prompt in PROMPTS]


@pytest.mark.parametrize("side", ["left", "right"])
def test_without_a_state_the_tokens_are_the_same(model: nn.Module, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, mask = padded(side)
    with_state = [bp.generate(model, ids, 9, attention_mask=mask, **how) for how in ({"temperature": 0}, SAMPLED)]
    monkeypatch.setattr(type(model), "incremental", False)
    without = [bp.generate(model, ids, 9, attention_mask=mask, **how) for how in ({"temperature": 0}, SAMPLED)]
    assert torch.equal(with_state[0], without[0])
    assert torch.equal(with_state[1], without[1])


def test_a_model_that_has_no_state_is_decoded_all_the_same(build: Make) -> None:
    model = build(causal=False)
    assert not model.incremental
    ids, mask = padded("right")
    out = bp.generate(model, ids, 6, temperature=0, attention_mask=mask)
    assert out[:, ids.shape[1] :].tolist() == [alone(model, prompt, 6) for prompt in PROMPTS]


def test_a_mask_that_keeps_everything_changes_nothing(build: Make) -> None:
    ids = torch.tensor([PROMPTS[0]] * 2)
    out = bp.generate(build(), ids, 8, **SAMPLED)
    assert torch.equal(out, bp.generate(build(), ids, 8, attention_mask=torch.ones_like(ids), **SAMPLED))


def test_a_seed_repeats_itself_and_another_does_not(build: Make) -> None:
    model, ids = build(), torch.tensor([PROMPTS[0]] * 3)
    first = bp.generate(model, ids, 16, seed=1)
    assert torch.equal(first, bp.generate(model, ids, 16, seed=1))
    assert not torch.equal(first, bp.generate(model, ids, 16, seed=2))
    assert len({tuple(row) for row in first.tolist()}) == 3


def test_what_a_row_draws_does_not_depend_on_the_others(build: Make) -> None:
    model = build()
    ids, mask = padded("left")
    together = bp.generate(model, ids, 10, attention_mask=mask, **SAMPLED)[:, ids.shape[1] :]
    one = bp.generate(model, torch.tensor(PROMPTS[:1]), 10, **SAMPLED)[:, len(PROMPTS[0]) :]
    assert torch.equal(together[:1], one)
    other, kept = ids.clone(), mask.clone()
    other[0], kept[0] = other[0].flip(0), 1
    changed = bp.generate(model, other, 10, attention_mask=kept, **SAMPLED)[:, ids.shape[1] :]
    assert torch.equal(together[1:], changed[1:])


def test_more_tokens_begin_with_fewer(build: Make) -> None:
    model, ids = build(), torch.tensor([PROMPTS[0]])
    assert torch.equal(bp.generate(model, ids, 20, **SAMPLED)[:, :13], bp.generate(model, ids, 6, **SAMPLED))


def test_a_row_ends_at_its_end_token_and_is_filled(build: Make) -> None:
    model = build()
    ids, mask = padded("right")
    free = bp.generate(model, ids, 15, temperature=0, attention_mask=mask)[:, ids.shape[1] :].tolist()
    end = free[0][4]
    out = bp.generate(model, ids, 15, temperature=0, attention_mask=mask, eos_id=[end], pad_id=60)
    for row, whole in zip(out[:, ids.shape[1] :].tolist(), free, strict=True):
        length = whole.index(end) + 1 if end in whole else 15
        assert row == whole[:length] + [60] * (len(row) - length)


def test_decoding_stops_once_every_row_ended(build: Make) -> None:
    model, ids = build(), torch.tensor([PROMPTS[0]])
    free = alone(model, PROMPTS[0], 12)
    calls: list[list[int]] = []
    out = bp.generate(model, ids, 12, temperature=0, eos_id=free[5], on_token=lambda new: calls.append(new.tolist()))
    stopped = free[: free.index(free[5]) + 1]
    assert out[0, len(PROMPTS[0]) :].tolist() == stopped
    assert calls == [[each] for each in stopped]


def test_a_sequence_of_ids_ends_a_row_only_when_it_is_whole(build: Make) -> None:
    model, ids = build(), torch.tensor([PROMPTS[0]])
    free = alone(model, PROMPTS[0], 12)
    stop = free[3:6]
    out = bp.generate(model, ids, 12, temperature=0, stop=[[*stop, 99], stop])[0, len(PROMPTS[0]) :].tolist()
    first = next(n for n in range(3, 13) if free[n - 3 : n] == stop)
    assert out == free[:first]


def test_a_repetition_penalty_sees_the_prompt_and_what_was_drawn_but_no_padding(build: Make) -> None:
    model = build()
    ids, mask = padded("left", pad=int(alone(model, PROMPTS[1], 1)[0]))
    new = bp.generate(model, ids, 8, temperature=0, repetition_penalty=1e6, attention_mask=mask)[:, ids.shape[1] :]
    for prompt, row in zip(PROMPTS, new.tolist(), strict=True):
        sequence = list(prompt)
        for _ in range(8):
            logits = model(torch.tensor([sequence])).logits[0, -1].detach()
            sequence.append(max(range(61), key=lambda i: float(logits[i]) * _weight(logits[i], i in sequence)))
        assert row == sequence[len(prompt) :]
        assert not set(row) & set(prompt)


def _weight(logit: Tensor, seen: bool) -> float:
    return 1.0 if not seen else 1e-6 if logit > 0 else 1e6


def test_every_module_keeps_its_mode_also_when_something_fails(build: Make) -> None:
    model = build(block={"dropout": 0.5}).train()
    model.embedding.eval()
    ids = torch.tensor([PROMPTS[0]])
    before = [module.training for module in model.modules()]
    out = bp.generate(model, ids, 5, temperature=0)
    assert torch.equal(out, bp.generate(model, ids, 5, temperature=0))
    with pytest.raises(KeyError):
        bp.generate(model, ids, 5, on_token=lambda new: {}["no"])
    drawn = steps(model, ids, Sampling(), 5)
    next(drawn)
    drawn.close()
    assert [module.training for module in model.modules()] == before


def test_random_numbers_of_the_program_are_left_alone(build: Make) -> None:
    model = build()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    bp.generate(model, torch.tensor([PROMPTS[0]]), 5)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_was_drawn_can_be_trained_on(build: Make) -> None:
    model = build()
    ids = bp.generate(model, torch.tensor([PROMPTS[0]]), 5)
    model(ids).logits.logsumexp(-1).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_nothing_asked_gives_the_prompt() -> None:
    ids = torch.tensor([PROMPTS[0]], dtype=torch.int32)
    out = bp.generate(make(), ids, 0)
    assert torch.equal(out, ids)
    assert out.dtype == ids.dtype


def test_a_learned_table_ends_at_max_length() -> None:
    model, ids = make(**VARIANTS["learned"]), torch.tensor([PROMPTS[0]])
    assert bp.generate(model, ids, 33, temperature=0).shape == (1, 40)
    with pytest.raises(ValueError, match=r"make 41, the model's max_length is 40.*learned positions"):
        bp.generate(model, ids, 34, temperature=0)


def test_rotary_positions_go_on_past_max_length_with_a_warning(build: Make) -> None:
    model, ids = build(), torch.tensor([PROMPTS[0]])
    with pytest.warns(UserWarning, match="max_length is 40"):
        out = bp.generate(model, ids, 40, temperature=0)
    assert out[0, 7:].tolist() == alone(model, PROMPTS[0], 40)


@pytest.mark.parametrize(
    ("ids", "more", "message"),
    [
        ([[]], {}, "prompt is empty"),
        ([[1, 99]], {}, "99, which is no token.*0 to 60"),
        ([[1, -1]], {}, "-1, which is no token"),
        ([[1, 2], [3, 4]], {"attention_mask": [[1, 1], [0, 0]]}, "row 1 is all padding"),
        ([[1, 2]], {"attention_mask": [[1]]}, "attention_mask is"),
        ([[1, 2]], {"max_new_tokens": -1}, "max_new_tokens"),
        ([[1, 2]], {"stop": [[]]}, "empty sequence"),
        ([[1.0, 2.0]], {}, "whole numbers"),
    ],
)
def test_what_cannot_be_continued_is_refused_in_plain_words(ids: Any, more: dict[str, Any], message: str) -> None:
    if "attention_mask" in more:
        more = {**more, "attention_mask": torch.tensor(more["attention_mask"])}
    prompt = torch.tensor(ids) if ids != [[]] else torch.zeros(1, 0, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        bp.generate(make(), prompt, **more)


def test_weights_that_have_diverged_are_told(build: Make) -> None:
    model = build()
    nn.init.constant_(model.norm.weight, float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        bp.generate(model, torch.tensor([PROMPTS[0]]), 3)
