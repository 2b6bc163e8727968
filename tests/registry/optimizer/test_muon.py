"""Muon: orthogonal steps for hidden matrices, another optimizer for the rest, and both as one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import blueprint as bp
from blueprint.component import Site
from blueprint.model.weights import weights_of
from blueprint.ops import Weight
from blueprint_registry.optimizer.adamw import Adamw
from blueprint_registry.optimizer.muon import Muon
from blueprint_registry.optimizer.muon_nn import orthogonal

SITE = Site(d_model=8, width=8)

#: The hidden matrices of a layer with experts.
NAMES = {
    *(f"attention.{name}.weight" for name in "qkvo"),
    "feed_forward.router.logits.weight",
    *(f"feed_forward.experts.{name}.weight" for name in ("gate", "up", "down")),
}


def stepped(made: torch.optim.Optimizer, weights: list[Weight], gradients: list[Tensor]) -> None:
    for each, gradient in zip(weights, gradients, strict=True):
        each.parameter.grad = gradient.clone()
    made.step()


@pytest.mark.parametrize("shape", [(16, 4), (4, 16), (9, 9), (3, 6, 5)])
def test_singular_values_come_near_one_and_vectors_stay(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    found = u.mT @ orthogonal(x, 5) @ v.mT
    values = found.diagonal(dim1=-2, dim2=-1)
    assert (found - torch.diag_embed(values)).abs().max() < 1e-9
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(("scale", "theirs"), [("shape", "original"), ("rms", "match_rms_adamw")])
def test_matrices_move_as_torchs_own(
    nesterov: bool, scale: str, theirs: str, weights: list[Weight], gradients: Iterator[list[Tensor]]
) -> None:
    chosen = [each for each in weights if each.name in ("tall", "wide")]
    copies = [nn.Parameter(each.parameter.detach().float()) for each in chosen]
    said = Muon.model_validate({"lr": 0.05, "scale": scale, "weight_decay": 0.1, "nesterov": nesterov})
    made = said.build(SITE)(chosen)
    reference = torch.optim.Muon(copies, lr=0.05, weight_decay=0.1, nesterov=nesterov, adjust_lr_fn=theirs)
    before = [each.clone() for each in copies]
    for _ in range(3):
        drawn = next(gradients)[:2]
        for one, gradient in zip(copies, drawn, strict=True):
            one.grad = gradient.float()
        stepped(made, chosen, drawn)
        reference.step()
    for each, one, was in zip(chosen, copies, before, strict=True):
        # Theirs iterates in bfloat16.
        assert (each.parameter - one).norm() < 0.02 * (one - was).norm()


def test_a_stack_moves_as_its_matrices_alone(weights: list[Weight], gradients: Iterator[list[Tensor]]) -> None:
    stack = weights[2]
    alone = [Weight(str(i), nn.Parameter(each.detach().clone()), "linear") for i, each in enumerate(stack.parameter)]
    many, one_by_one = Muon().build(SITE)([stack]), Muon().build(SITE)(alone)
    for _ in range(2):
        gradient = next(gradients)[2]
        stepped(many, [stack], [gradient])
        stepped(one_by_one, alone, list(gradient))
    torch.testing.assert_close(stack.parameter, torch.stack([each.parameter for each in alone]))


def test_everything_else_moves_as_the_rest_says(weights: list[Weight], gradients: Iterator[list[Tensor]]) -> None:
    chosen = [each for each in weights if not each.hidden]
    copies = [Weight(each.name, nn.Parameter(each.parameter.detach().clone()), each.role) for each in chosen]
    rest = Adamw(lr=0.01, weight_decay=0.3)
    made, alone = Muon(rest=rest).build(SITE)(weights), rest.build(SITE)(copies)
    for _ in range(3):
        drawn = next(gradients)
        stepped(made, weights, drawn)
        stepped(alone, copies, [g for each, g in zip(weights, drawn, strict=True) if not each.hidden])
    assert [each.name for each in chosen] == ["vector", "table"]
    for each, copy in zip(chosen, copies, strict=True):
        assert torch.equal(each.parameter, copy.parameter)


def test_what_was_saved_goes_on(weights: list[Weight], gradients: Iterator[list[Tensor]]) -> None:
    told = [next(gradients) for _ in range(4)]
    copies = [Weight(e.name, nn.Parameter(e.parameter.detach().clone()), e.role, e.stacked) for e in weights]
    whole, first, second = (Muon().build(SITE)(each) for each in (weights, copies, copies))
    for step in told:
        stepped(whole, weights, step)
    for step in told[:2]:
        stepped(first, copies, step)
    second.load_state_dict(first.state_dict())
    for step in told[2:]:
        stepped(second, copies, step)
    for one, other in zip(weights, copies, strict=True):
        assert torch.equal(one.parameter, other.parameter), one.name


def test_projections_and_experts_are_hidden_and_tables_heads_and_norms_are_not() -> None:
    said = {"type": "experts", "experts": 4, "expert": "gated"}
    block = {"attention": {"heads": 2, "bias": True}, "feed_forward": said}
    sizes = {"d_model": 16, "layers": 1, "vocab_size": 11, "max_length": 8}
    model = bp.build(bp.load({"model": {"type": "decoder", **sizes, "block": block}, "sample": None}))
    hidden = {each.name.removeprefix("layers.0.") for each in weights_of(model) if each.hidden}
    assert hidden == NAMES
    vectors = [each for each in weights_of(model) if each.name.endswith("bias")]
    assert vectors
    assert not any(each.decays for each in vectors)


def test_muon_for_the_rest_is_refused() -> None:
    with pytest.raises(ValidationError, match="has none left"):
        Muon(rest=Muon())
