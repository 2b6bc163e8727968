"""The head that tells masked tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import blueprint as bp
from blueprint.component import Site
from blueprint_registry.head.masked_language_model import MaskedLanguageModel

SITE = Site(d_model=16, width=16, vocab_size=11, table=6)
LAYER = {"type": "layer"}


def head(**said: Any) -> Any:
    made = MaskedLanguageModel.of({"type": "masked_language_model", "norm": LAYER, **said}).filled(SITE).build(SITE)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def test_it_is_a_dense_layer_an_activation_a_norm_and_a_matrix() -> None:
    made, x = head(activation="relu"), torch.randn(2, 3, 16)
    dense, norm, output = made.transform.dense, made.transform.norm, made.output
    inside = F.layer_norm(F.relu(x @ dense.weight.T + dense.bias), (16,), norm.weight, norm.bias)
    torch.testing.assert_close(made(x), inside @ output.weight.T + output.bias)
    assert output.role == "head"


def test_a_tied_one_narrows_to_the_table() -> None:
    made, table = head(tie=True), torch.randn(11, 6)
    assert {name: tuple(p.shape) for name, p in made.named_parameters()} == {
        "transform.dense.weight": (6, 16),
        "transform.dense.bias": (6,),
        "transform.norm.weight": (6,),
        "transform.norm.bias": (6,),
        "output.bias": (11,),
    }
    x = torch.randn(2, 3, 16)
    torch.testing.assert_close(made(x, table), made.transform(x) @ table.T + made.output.bias)


def test_every_bias_and_the_norm_can_be_left_out() -> None:
    made = head(width="d_model / 2", dense_bias=False, bias=False, norm=None)
    assert {name: tuple(p.shape) for name, p in made.named_parameters()} == {
        "transform.dense.weight": (8, 16),
        "output.weight": (11, 8),
    }


def test_a_tied_head_has_no_width_of_its_own_and_needs_a_table() -> None:
    with pytest.raises(ValueError, match="width of the embedding's table"):
        MaskedLanguageModel(tie=True, width=8)
    assert "no token table" in str(MaskedLanguageModel(tie=True).check(replace(SITE, table=None)))
    assert MaskedLanguageModel(tie=True).check(SITE) is None


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_a_loss_without_whole_logits_is_that_of_the_logits(tie: bool, precision: str) -> None:
    said = {
        "model": {
            "type": "encoder",
            "d_model": 32,
            "layers": 1,
            "vocab_size": 11,
            "embedding": {"width": 8},
            "block": {"attention": {"heads": 4}},
            "head": {"type": "masked_language_model", "tie": tie},
        },
        "trainer": {"precision": precision},
    }
    model = bp.build(bp.load(said))
    if precision != "32-true":
        model = model.to(torch.bfloat16)
    ids, targets = torch.randint(11, (2, 5)), torch.randint(11, (2, 5))
    targets[0, :2] = -100
    out = model(ids)
    expected = F.cross_entropy(out.logits.flatten(0, 1).float(), targets.flatten())
    torch.testing.assert_close(model.cross_entropy(out.hidden, targets), expected, atol=1e-5, rtol=1e-4)
