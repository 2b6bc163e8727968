"""Expert choice against the equations of Zhou et al. (2022), and what an expert chooses among."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import blueprint as bp
from blueprint.ops import dispatch
from blueprint_registry.router.expert_choice import ExpertChoice
from tests.registry.router.common import EXPERTS, SITE, built, dense, flow_of, ids, model_of, tokens


def chosen(x_ND: Tensor, weight_ED: Tensor, room: int) -> Tensor:
    """(N, E): S where an expert is among those that took the token, else 0: S = softmax(X W_g), G, I = TopK(Sᵀ, k)
    (eq. 1 and below)."""
    s_NE = (x_ND.double() @ weight_ED.detach().double().T).softmax(-1)
    out = torch.zeros_like(s_NE)
    for expert, scores in enumerate(s_NE.T):
        best = sorted(range(len(scores)), key=lambda n: -float(scores[n]))[:room]
        out[best, expert] = scores[best]
    return out


@pytest.mark.parametrize("factor", [0.5, 1, 2, 3.3])
def test_every_expert_takes_its_best_of_each_sequence(factor: float) -> None:
    made, x = built(ExpertChoice(factor=factor)), tokens(3, 20)
    room = int(Fraction(str(factor)) * 20 / EXPERTS)
    expected = torch.cat([chosen(each, made.logits.weight, room) for each in x])
    routing = made(x, flow_of(x))
    torch.testing.assert_close(dense(routing), expected, rtol=1e-4, atol=1e-6)
    assert routing.load().tolist() == [3.0 * room] * EXPERTS
    assert routing.most == 3 * room * EXPERTS


def test_over_the_batch_it_takes_them_where_they_are() -> None:
    made, x = built(ExpertChoice(over="batch")), tokens(3, 20)
    expected = chosen(x.flatten(0, 1), made.logits.weight, 24)
    torch.testing.assert_close(dense(made(x, flow_of(x))), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("over", ["sequence", "batch"])
@given(st.integers(0, 2**31), st.floats(0.1, 4.9))
@settings(max_examples=25, deadline=None)
def test_padding_is_never_taken_and_counts_for_nothing(over: str, seed: int, factor: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    factor = round(factor, 2)
    made, x = built(ExpertChoice(factor=factor, over=over)), torch.randn(3, 9, 16, generator=draw)
    keep = torch.rand(3, 9, generator=draw) < 0.6
    keep[2] = False
    found = dense(made(x, flow_of(x, keep)))
    sets = [keep.flatten().nonzero()[:, 0]]
    if over == "sequence":
        sets = [9 * row + keep[row].nonzero()[:, 0] for row in range(3)]
    expected = torch.zeros_like(found)
    for at in sets:
        room = min(len(at), max(1, int(Fraction(str(factor)) * len(at) / EXPERTS)))
        expected[at] = chosen(x.flatten(0, 1)[at], made.logits.weight, room)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_what_is_beside_a_sequence_matters_over_the_batch_alone() -> None:
    for over, same in (("sequence", True), ("batch", False)):
        model = model_of(f"{{type: expert_choice, factor: 1, over: {over}}}", kind="encoder")
        alone, beside = model(ids()[:1]).logits, model(ids()).logits[:1]
        assert torch.allclose(alone, beside, atol=1e-4) == same


def test_without_values_as_many_rows_are_at_work() -> None:
    made, x = ExpertChoice().build(SITE), tokens(2, 20)
    rows = []

    def run(x_RD: Tensor, *_: object) -> Tensor:
        rows.append(len(x_RD))
        return x_RD

    dispatch(x.flatten(0, 1), made(x, flow_of(x)), run)
    with FakeTensorMode():
        x, made = tokens(2, 20), ExpertChoice().build(SITE)
        dispatch(x.flatten(0, 1), made(x, flow_of(x)), run)
    assert rows == [80, 80]


def test_it_looks_ahead() -> None:
    model = model_of("expert_choice", "model.causal=false")
    assert not model.incremental
    alone = model_of("expert_choice", "model.causal=false", "model.block.attention=null")
    assert not alone.incremental, "even where no attention does"


@pytest.mark.parametrize("kind", ["decoder", "encoder_decoder"])
def test_in_a_causal_stack_it_is_refused_with_what_to_say_instead(kind: str) -> None:
    with pytest.raises(bp.SpecError, match=r"looks ahead[\s\S]*top_k") as told:
        model_of("expert_choice", kind=kind)
    assert len(told.value.problems) == 1


def test_the_encoder_of_a_pair_may_have_it() -> None:
    model = model_of("expert_choice", "model.decoder.block.feed_forward.router=top_k", kind="encoder_decoder")
    out = model(ids(), decoder_input_ids=ids())
    assert out.logits.isfinite().all()
    assert model.incremental, "its decoder is"


def test_experts_that_each_take_every_token_are_refused() -> None:
    with pytest.raises(bp.SpecError, match="soft"):
        model_of("{type: expert_choice, factor: 4}", kind="encoder")


@pytest.mark.parametrize("balance", ["expert", "importance", "load"])
def test_there_is_nothing_for_a_balance_to_even_out(balance: str) -> None:
    with pytest.raises(bp.SpecError, match=f"balance `{balance}` needs"):
        model_of("expert_choice", balance=balance, kind="encoder")
