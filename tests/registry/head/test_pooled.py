"""Heads that give one output for a whole sequence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blueprint.component import Site
from blueprint.kinds import Head
from blueprint.ops import Flow

SITE = Site(d_model=8, width=8, vocab_size=11)
KEEP = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])
FLOW = Flow.of(3, 5, attention_mask=KEEP)
#: What each row keeps.
ROWS = [slice(0, 5), slice(0, 3), slice(2, 5)]
POOLS = {
    "first": lambda x: x[0],
    "last": lambda x: x[-1],
    "mean": lambda x: x.mean(0),
    "first_and_mean": lambda x: torch.cat((x[0], x[1:].mean(0))),
}


def head(name: str, **said: Any) -> Any:
    made = Head.of({"type": name, **said}).filled(SITE).build(SITE)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made.eval()


def pooled(x_BTD: Tensor, over: str) -> Tensor:
    return torch.stack([POOLS[over](x_BTD[row, kept]) for row, kept in enumerate(ROWS)])


@pytest.mark.parametrize("over", POOLS)
def test_what_stands_for_a_sequence_is_taken_of_its_real_tokens(over: str) -> None:
    x = torch.randn(3, 5, 8)
    bare = head("pooler", over=over, activation=None)
    torch.testing.assert_close(bare(x, None, FLOW), pooled(x, over))
    assert not bare.state_dict()
    torch.testing.assert_close(bare(x[:1]), pooled(x, over)[:1])


@pytest.mark.parametrize("over", POOLS)
def test_a_pooler_is_a_dense_layer_and_tanh(over: str) -> None:
    made, x = head("pooler", over=over), torch.randn(3, 5, 8)
    dense = made.transform.dense
    assert dense.weight.shape == (8, 16 if over == "first_and_mean" else 8)
    torch.testing.assert_close(made(x, None, FLOW), torch.tanh(pooled(x, over) @ dense.weight.T + dense.bias))


@pytest.mark.parametrize("over", POOLS)
def test_classes_follow_from_the_vector(over: str) -> None:
    x, width = torch.randn(3, 5, 8), 16 if over == "first_and_mean" else 8
    plain = head("classification", labels=3, over=over)
    assert plain.output.weight.shape == (3, width)
    assert plain.output.role == "head"
    torch.testing.assert_close(plain(x, None, FLOW), pooled(x, over) @ plain.output.weight.T + plain.output.bias)
    bare = head("classification", labels=3, over=over, bias=False, norm={"type": "layer", "affine": False})
    torch.testing.assert_close(
        bare(x, None, FLOW), F.layer_norm(pooled(x, over), (width,)) @ bare.output.weight.T, atol=1e-5, rtol=1e-5
    )
    made = head("classification", labels=3, over=over, activation="relu", dense_bias=False)
    inside = F.relu(pooled(x, over) @ made.pooling.transform.dense.weight.T)
    torch.testing.assert_close(made(x, None, FLOW), inside @ made.output.weight.T + made.output.bias)


def test_dropout_acts_on_the_vector_in_training_alone() -> None:
    made, x = head("classification", labels=3, dropout=0.9), torch.ones(3, 5, 8)
    torch.manual_seed(0)
    assert not torch.equal(made.train()(x), made.eval()(x))
    assert torch.equal(made.eval()(x), made(x))


def test_a_row_of_nothing_but_padding_gives_numbers() -> None:
    nothing = Flow.of(1, 4, attention_mask=torch.zeros(1, 4))
    for over in POOLS:
        assert head("classification", labels=3, over=over)(torch.randn(1, 4, 8), None, nothing).isfinite().all()


def test_a_bias_of_no_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="does nothing without a dense layer"):
        Head.of({"type": "classification", "labels": 2, "dense_bias": False})
