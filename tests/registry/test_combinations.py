"""Every mixer under every mask with every position decodes step by step as it computes at once, padding or none."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.registry import kinds, member
from blueprint.testing import tiny
from tests.shipped import shipped

LENGTH, PAD = 14, 3


#: What cannot stand together: positions that read the keys of every head, where no such keys are kept.
REFUSED = [{"latent", position} for position in ("disentangled", "shaw", "transformer_xl")]


def refused(choice: Iterable[str]) -> bool:
    return any(pair <= set(choice) for pair in REFUSED)


def spec_of(**slots: str) -> dict[str, Any]:
    """The tiny spec around the first slot, with the others put beside or inside it."""
    said = tiny("attention", slots.get("attention", "multi_head"))  # which stands with everything
    attention = said["model"]["block"]["attention"]
    for kind in ("mask", "position"):
        if kind in slots and kind in member("attention", attention["type"]).model_fields:
            attention[kind] = {"type": slots[kind], **member(kind, slots[kind]).examples()[0]}
    return said


def noisy(said: dict[str, Any]) -> Any:
    model = bp.build(bp.load(said)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def agree(model: Any, ids: torch.Tensor, keep: torch.Tensor | None) -> None:
    """The logits of kept tokens, once over the whole sequence and once token by token."""
    segments = torch.zeros_like(ids)
    whole = model(ids, keep, segment_ids=segments).logits
    state, steps = model.new_state(ids.shape[0], ids.shape[1]), []
    for t in range(ids.shape[1]):
        part = None if keep is None else keep[:, t : t + 1]
        steps.append(model(ids[:, t : t + 1], part, state=state).logits)
    found = torch.cat(steps, 1)
    if keep is not None:
        whole, found = whole[keep.bool()], found[keep.bool()]
    torch.testing.assert_close(found, whole, atol=1e-5 * whole.std().item(), rtol=1e-5)


@pytest.mark.parametrize("position", shipped("position"))
@pytest.mark.parametrize("mask", shipped("mask"))
@pytest.mark.parametrize("attention", shipped("attention"))
def test_cached_equals_uncached(attention: str, mask: str, position: str) -> None:
    said = spec_of(attention=attention, mask=mask, position=position)
    if refused((attention, position)):
        with pytest.raises(bp.SpecError, match="reads the keys of every head"):
            bp.load(said)
        return
    model = noisy(said)
    ids = torch.randint(0, 60, (2, LENGTH), generator=torch.Generator().manual_seed(1))
    agree(model, ids, None)
    for columns in (slice(0, PAD), slice(LENGTH - PAD, LENGTH)):
        keep = torch.ones_like(ids)
        keep[1, columns] = 0
        agree(model, ids, keep)


#: Slots of a decoder whose members may meet in any combination.
PLACES = {
    "attention": "block.attention",
    "feed_forward": "block.feed_forward",
    "norm": "norm",
    "residual": "block.residual",
    "positions": "embedding.positions",
    "init": "init",
    "block": "block",
}


def combined(choice: dict[str, str]) -> dict[str, Any]:
    said = spec_of(**{k: v for k, v in choice.items() if k in ("attention", "mask", "position")})
    for kind, where in PLACES.items():
        if kind in choice and kind != "attention":
            node = said["model"]
            for step in where.split("."):
                node = node.setdefault(step, {})
            node |= {"type": choice[kind], **member(kind, choice[kind]).examples()[0]}
    if "positions" in choice:
        said["model"]["block"]["attention"]["position"] = "none"
    return said


def holds(said: dict[str, Any]) -> None:
    """The model learns, sees no future, and decodes as it computes."""
    model = noisy(said)
    ids = torch.randint(0, 60, (2, LENGTH), generator=torch.Generator().manual_seed(2))
    logits = model(ids).logits
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 60
    torch.testing.assert_close(model(changed).logits[:, :-1], logits[:, :-1])
    agree(model, ids, None)


KINDS = ["attention", "mask", "position", *(kind for kind in PLACES if kind != "attention")]
PAIRS = [
    {a: x, b: y}
    for a, b in itertools.combinations(KINDS, 2)
    for x in shipped(a)
    for y in shipped(b)
    if {a, b} != {"position", "positions"} and not refused((x, y))
]


@pytest.mark.parametrize("choice", PAIRS, ids=lambda c: "-".join(c.values()))
def test_every_pair_of_components_works_together(choice: dict[str, str]) -> None:
    holds(combined(choice))


@pytest.mark.slow
def test_a_sample_of_whole_combinations_works() -> None:
    assert set(KINDS) <= set(kinds())
    rng = random.Random(0)
    for _ in range(150):
        choice = {kind: rng.choice(shipped(kind)) for kind in KINDS}
        choice.pop(rng.choice(["position", "positions"]))
        if refused(choice.values()):
            continue
        holds(combined(choice))
