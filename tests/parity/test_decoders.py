"""A public family written as a spec is that family: same logits, tokens, loss and gradients on the same weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blueprint as bp
from tests.parity.families import FAMILIES
from tests.parity.reference import VOCABULARY, Family

# Of the logits' standard deviation. float32 is within 5e-6 of float64; gelu and its tanh form are further apart.
BAR = 2e-5
BATCH, LENGTH = 3, 24


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def pair(family: Family) -> tuple[nn.Module, nn.Module]:
    return family.pair()


def ids(seed: int = 0) -> Tensor:
    return torch.randint(3, VOCABULARY, (BATCH, LENGTH), generator=torch.Generator().manual_seed(seed))


def masked(side: str) -> Tensor:
    """Rows of which all, two thirds and a quarter are real."""
    keep = torch.arange(LENGTH) < torch.tensor([[LENGTH], [LENGTH * 2 // 3], [LENGTH // 4]])
    return (keep if side == "right" else keep.flip(1)).long()


def agree(found: Tensor, expected: Tensor) -> None:
    far, spread = (found - expected).abs().max(), expected.std()
    assert far <= BAR * spread, f"max |Δlogit| is {far / spread:.1e} of their standard deviation"


def test_every_parameter_of_theirs_is_one_of_ours(pair: tuple[nn.Module, nn.Module]) -> None:
    theirs, ours = (sum(parameter.numel() for parameter in model.parameters()) for model in pair)
    assert ours == theirs


@torch.no_grad()
def test_logits_agree(pair: tuple[nn.Module, nn.Module]) -> None:
    theirs, ours = pair
    for batch in (ids(0), ids(1)[:1, :1], ids(2)[:, :7]):
        agree(ours(batch).logits, theirs(batch).logits)


@pytest.mark.parametrize("side", ["right", "left"])
@torch.no_grad()
def test_padded_logits_agree(family: Family, pair: tuple[nn.Module, nn.Module], side: str) -> None:
    theirs, ours = pair
    keep = masked(side)
    place = {"position_ids": (keep.cumsum(1) - 1).clamp_min(0)} if family.says_positions else {}
    expected = theirs(ids(), attention_mask=keep, **place).logits
    agree(ours(ids(), keep).logits[keep.bool()], expected[keep.bool()])


@pytest.mark.parametrize("side", ["none", "left"])
@torch.no_grad()
def test_greedy_decoding_gives_the_same_tokens(pair: tuple[nn.Module, nn.Module], side: str) -> None:
    theirs, ours = pair
    keep = torch.ones(BATCH, LENGTH, dtype=torch.long) if side == "none" else masked(side)
    # Ends are left out, so that every row goes its whole way, past every window.
    asked = {"max_new_tokens": 24, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    expected = theirs.generate(ids(), attention_mask=keep, **asked)
    assert ours.incremental
    found = bp.generate(ours, ids(), 24, temperature=0, attention_mask=keep)
    assert found.tolist() == expected.tolist()


def test_loss_and_gradients_agree(family: Family, pair: tuple[nn.Module, nn.Module]) -> None:
    theirs, ours = pair
    batch, targets = ids()[:, :-1], ids()[:, 1:]
    for model in pair:
        model.zero_grad()
    expected = F.cross_entropy(theirs(batch).logits.flatten(0, 1), targets.flatten())
    found = ours.cross_entropy(ours(batch, logits=False).hidden, targets)
    expected.backward()
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    for name, parameter in ours.named_parameters():
        wanted = family.part(name, gradients).reshape(parameter.shape)
        far = (parameter.grad - wanted).norm() / norm
        assert far <= 1e-5, f"the gradient of {name} is {far:.1e} of the whole gradient off"
    whole = torch.stack([parameter.grad.norm() for parameter in ours.parameters()]).norm()
    torch.testing.assert_close(whole, norm, rtol=1e-5, atol=0)


def test_the_bar_tells_an_activation_from_its_approximation() -> None:
    said = FAMILIES["gpt2"]
    theirs, _ = said.pair()
    _, other = replace(said, model=said.model.replace("gelu_tanh", "gelu")).pair()
    with torch.no_grad(), pytest.raises(AssertionError, match="deviation"):
        agree(other(ids()).logits, theirs(ids()).logits)
