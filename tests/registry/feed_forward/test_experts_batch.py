"""What a sequence becomes does not depend on what else is in the batch, whatever router chooses its experts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blueprint as bp
from blueprint.registry import member
from tests.shipped import shipped

#: Every router that ships, in every way it shows itself.
ROUTERS = [
    pytest.param({"type": name, **said}, id=f"{name}-{index}")
    for name in shipped("router")
    for index, said in enumerate(member("router", name).examples())
]
CAPACITIES: list[dict[str, Any] | None] = [
    None,
    {"factor": 0.5},
    {"factor": 0.5, "keep": "best", "over": "batch", "spared": 0.1},
    {"factor": 0.5, "per": "group"},
    {"factor": 1.0, "overflow": "reroute"},
    {"tokens": 1, "keep": "first_choices"},
]
#: Places counted over a sequence alone bear on that sequence alone, at inference too.
AT_INFERENCE: list[dict[str, Any]] = [
    {"factor": 0.5, "at_inference": True},
    {"factor": 1.0, "overflow": "reroute", "keep": "best", "at_inference": True},
]
PROMPTS = [[5, 17, 3, 44, 8, 21, 30], [9, 2, 2], [50, 11, 6, 40, 12]]
LONGEST, NEW = max(map(len, PROMPTS)), 5


def spec(router: dict[str, Any], capacity: dict[str, Any] | None, kind: str) -> bp.Spec:
    experts = {"type": "experts", "experts": 8, "expert": {"type": "gated", "d_ff": 16}, "router": router}
    block = {"attention": {"heads": 4}, "feed_forward": {**experts, "capacity": capacity}}
    sizes = {"d_model": 32, "layers": 2, "max_length": 32, "vocab_size": 61}
    head = {"head": "masked_language_model"} if kind == "encoder" else {}
    return bp.load({"model": {"type": kind, **sizes, **head, "block": block}, "sample": None})


def made(router: dict[str, Any], capacity: dict[str, Any] | None) -> nn.Module | None:
    """A decoder with such experts; an encoder where the router cannot stand in one; None where what is asked of the
    capacity does not go with the router."""
    kind = "encoder" if "looks_ahead" in member("router", router["type"]).traits else "decoder"
    try:
        model: nn.Module = bp.build(spec(router, capacity, kind)).eval()
    except bp.SpecError as error:
        if all(".capacity" in problem.key for problem in error.problems):
            return None
        raise
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    return model


def batch() -> tuple[Tensor, Tensor]:
    """The prompts side by side, padded on the left."""
    ids = [[7] * (LONGEST - len(prompt)) + prompt for prompt in PROMPTS]
    mask = [[0] * (LONGEST - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS]
    return torch.tensor(ids), torch.tensor(mask)


@pytest.mark.parametrize("router", ROUTERS)
def test_a_sequence_in_a_batch_is_as_alone(router: dict[str, Any]) -> None:
    models = [made(router, capacity) for capacity in CAPACITIES]
    assert models[0] is not None
    ids, mask = batch()
    for model in filter(None, models):
        with torch.no_grad():
            together = model(ids, attention_mask=mask).logits
            for row, prompt in enumerate(PROMPTS):
                alone = model(torch.tensor([prompt])).logits[0]
                torch.testing.assert_close(together[row, LONGEST - len(prompt) :], alone, rtol=1e-4, atol=1e-4)
        if not model.plan.model.generates:  # type: ignore[union-attr]
            continue
        found = bp.generate(model, ids, NEW, temperature=0, attention_mask=mask)[:, LONGEST:]
        for row, prompt in enumerate(PROMPTS):
            alone_ids = bp.generate(model, torch.tensor([prompt]), NEW, temperature=0)[0, len(prompt) :]
            assert torch.equal(found[row], alone_ids)


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("capacity", AT_INFERENCE, ids=lambda said: said.get("overflow", "drop"))
def test_places_in_a_sequence_are_its_own_business(router: dict[str, Any], capacity: dict[str, Any]) -> None:
    model, free = made(router, capacity), made(router, None)
    assert free is not None
    ids, mask = batch()
    # Where a router does not go with a capacity, the same is held of it without.
    model = free if model is None else model
    with torch.no_grad():
        together = model(ids, attention_mask=mask).logits
        for row, prompt in enumerate(PROMPTS):
            alone = model(torch.tensor([prompt])).logits[0]
            torch.testing.assert_close(together[row, LONGEST - len(prompt) :], alone, rtol=1e-4, atol=1e-4)


def test_places_in_the_whole_batch_are_every_rows_business() -> None:
    """What `over: batch` says, where it is asked for at inference too."""
    model = made({"type": "top_k"}, {"factor": 0.5, "keep": "best", "over": "batch", "at_inference": True})
    assert model is not None
    ids, mask = batch()
    with torch.no_grad():
        together = model(ids, attention_mask=mask).logits
        alone = [model(torch.tensor([prompt])).logits[0] for prompt in PROMPTS]
    assert any(not torch.allclose(together[row, LONGEST - len(each) :], each) for row, each in enumerate(alone))
