"""A decoder that learned by `prefix_lm` reads its prompt as a prefix: with a state as without, padded or not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blueprint as bp
from tests.inference.conftest import VARIANTS, Make

MORE: dict[str, dict[str, Any]] = {
    **VARIANTS,
    "t5": {"attention": {"position": "t5_bias"}},
    "latent": {
        "attention": {
            "type": "latent",
            "heads": 4,
            "kv_rank": 12,
            "nope_dim": 6,
            "rope_dim": 4,
            "value_dim": 10,
        }
    },
    "chunks": {"attention": {"mask": {"type": "chunked", "chunk": 6}}},
    "rotations that follow the length": {
        "attention": {"position": {"type": "rope", "scaling": {"type": "dynamic", "factor": 4.0}}},
        "max_length": 8,
    },
}


def marked(model: nn.Module) -> nn.Module:
    """The model with a spec that says how it learned."""
    model.spec = bp.load({"model": model.plan.model.to_plain(), "tokenizer": None, "objective": "prefix_lm"})  # type: ignore[union-attr, assignment]
    return model


@pytest.fixture(params=MORE)
def model(request: pytest.FixtureRequest, build: Make) -> nn.Module:
    return marked(build(**MORE[request.param]))


def greedy(model: nn.Module, prompt: Tensor, count: int) -> list[int]:
    """The likeliest tokens after one prompt, all of it read anew for each."""
    ids, prefix_B = prompt[None], torch.tensor([len(prompt)])
    for _ in range(count):
        logits = model(ids, prefix_length=prefix_B).logits[:, -1]
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    found: list[int] = ids[0, len(prompt) :].tolist()
    return found


@torch.inference_mode()
def test_what_is_written_is_as_if_all_were_read_each_time(model: nn.Module) -> None:
    ids = torch.randint(61, (3, 7), generator=torch.Generator().manual_seed(0))
    counts, new = [7, 4, 1], 6
    wanted = [greedy(model, row[:count], new) for row, count in zip(ids, counts, strict=True)]
    keep = torch.arange(7) < torch.tensor(counts)[:, None]
    for mask in (keep, keep.flip(1)):
        given = torch.zeros_like(ids)
        given[mask] = ids[keep]
        found = bp.generate(model, given, new, temperature=0, attention_mask=mask)
        assert found[:, 7:].tolist() == wanted
    beams = bp.generate(model, ids[:1], new, num_beams=3)
    assert beams.shape == (1, 13)


@torch.inference_mode()
def test_a_later_token_of_the_prompt_changes_what_the_first_one_gives(model: nn.Module) -> None:
    """And without a word of a prefix it does not."""
    ids = torch.randint(61, (1, 6), generator=torch.Generator().manual_seed(1))
    other = ids.clone()
    other[:, 3] = (other[:, 3] + 1) % 61
    prefix_B = torch.tensor([4])
    one, two = (model(each, prefix_length=prefix_B).logits for each in (ids, other))
    assert ((one - two).abs().amax(-1)[0, :3] > 1e-4).all()
    plain = [model(each).logits[:, :3] for each in (ids, other)]
    torch.testing.assert_close(plain[0], plain[1])


@torch.inference_mode()
def test_beams_go_on_from_a_prefix_as_each_alone(model: nn.Module) -> None:
    """The best of many beams is at least as likely as what is written greedily, both read as prefixes."""
    ids = torch.randint(61, (1, 5), generator=torch.Generator().manual_seed(2))

    def score(row: Tensor) -> float:
        logits = model(row[None], prefix_length=torch.tensor([5])).logits.log_softmax(-1)[0]
        return float(logits[4:-1].gather(-1, row[5:, None]).sum())

    greedily = torch.cat([ids[0], torch.tensor(greedy(model, ids[0], 3))])
    best = bp.generate(model, ids, 3, num_beams=64)[0]
    assert score(best) >= score(greedily) - 1e-4


def test_a_prompt_is_no_prefix_to_a_model_that_learned_otherwise(build: Make) -> None:
    model = build()
    ids = torch.randint(61, (1, 7), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        causal, both = model(ids).logits, model(ids, prefix_length=torch.tensor([7])).logits
        assert not torch.allclose(causal[:, 0], both[:, 0])
        logits = causal[:, -1]
    assert bp.generate(model, ids, 1, temperature=0)[0, -1] == logits.argmax()


def test_a_model_that_sees_all_anyway_has_no_prefix(build: Make) -> None:
    model = build(causal=False)
    with pytest.raises(ValueError, match="leave prefix_length out"):
        model(torch.zeros(1, 4, dtype=torch.long), prefix_length=torch.tensor([2]))
